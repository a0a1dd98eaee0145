// The modules that draw and think, in a DOM without a browser. What a browser does: tests/acceptance.
module.exports = {
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
