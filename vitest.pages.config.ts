import { mergeConfig } from 'vitest/config'
import base from './vitest.config.js'

/** Pages looked at in Chromium, which `npm test` does without. */
export default mergeConfig(base, { test: { include: ['test/pages/**/*.test.ts'], exclude: [] } })
