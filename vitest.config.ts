import { defineConfig } from 'vitest/config'

export default defineConfig({
  // The examples import the package by its name, as a user does; the tests run them on the sources.
  resolve: { alias: { 'winnow-llm': new URL('./src/index.ts', import.meta.url).pathname } },
  test: {
    include: ['test/**/*.test.ts'],
    // A process for each file: one llama.cpp variant per process, and a crash names its file.
    pool: 'forks',
    testTimeout: 60_000,
    hookTimeout: 60_000
  }
})
