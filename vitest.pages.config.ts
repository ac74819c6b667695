import base from './vitest.config.js'

/** Pages looked at in Chromium, which `npm test` does without. Spread, since mergeConfig would add to `include`. */
export default { ...base, test: { ...base.test, include: ['test/pages/**/*.test.ts'], exclude: [] } }
