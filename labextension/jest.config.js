// The modules that draw and think, in a DOM without a browser. What a browser does: tests/acceptance.
module.exports = {
  // Not in the machine's temporary directory, where nobody removes it.
  cacheDirectory: '<rootDir>/node_modules/.cache/jest',
  testEnvironment: 'jsdom',
  testRegex: 'test/.*\\.spec\\.ts$',
  transform: {
    '\\.tsx?$': [
      'ts-jest',
      {
        tsconfig: {
          module: 'commonjs',
          esModuleInterop: true,
          target: 'ES2022',
          strict: true,
          jsx: 'react',
          isolatedModules: true
        }
      }
    ]
  },
  moduleNameMapper: { '\\.(css|svg)$': '<rootDir>/test/nothing.js' }
};
