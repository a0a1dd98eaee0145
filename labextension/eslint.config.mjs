// Strict, with types. `any` is banned: what comes from elsewhere is `unknown` until it was looked at.
import tseslint from 'typescript-eslint';

export default tseslint.config(
  {
    ignores: [
      'lib',
      'node_modules',
      'coverage',
      'src/types/card.ts',
      '*.mjs',
      '*.js',
      'tools',
      'style',
      'test/nothing.js'
    ]
  },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: {
      parserOptions: { project: ['./tsconfig.json', './tsconfig.test.json'] }
    },
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/explicit-module-boundary-types': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/no-extraneous-class': 'off',
      // Lumino's `signal.connect(method, owner)` takes methods unbound, on purpose.
      '@typescript-eslint/unbound-method': 'off',
      '@typescript-eslint/no-unused-vars': [
        'error',
        { ignoreRestSiblings: true, varsIgnorePattern: '^_' }
      ],
      'max-lines': ['error', 300],
      'no-console': 'error',
      'no-restricted-properties': [
        'error',
        { property: 'innerHTML', message: 'Remote strings reach the page as text only.' },
        { property: 'outerHTML', message: 'Remote strings reach the page as text only.' },
        { property: 'insertAdjacentHTML', message: 'Remote strings reach the page as text only.' }
      ],
      'no-restricted-globals': [
        'error',
        { name: 'fetch', message: 'Only requests.ts talks to the server.' },
        { name: 'WebSocket', message: 'Only requests.ts talks to the server.' }
      ],
      'no-restricted-syntax': [
        'error',
        {
          selector: "JSXAttribute[name.name='dangerouslySetInnerHTML']",
          message: 'Remote strings reach the page as text only.'
        },
        {
          selector: 'CallExpression[callee.property.name=/^_+[np]*$/] > Literal[value=/%%/]',
          message: 'To a translator two percent signs are one: give what has them as %1.'
        }
      ],
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      curly: 'error'
    }
  }
);
