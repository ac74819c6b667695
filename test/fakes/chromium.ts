import { existsSync } from 'node:fs'
import { type Browser, chromium } from 'playwright-core'

const places = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

/** The Chromium of this machine, or the one that CHROMIUM names. */
export async function openChromium(): Promise<Browser> {
  const executablePath = process.env.CHROMIUM ?? places.find(existsSync)
  if (executablePath === undefined) {
    throw new Error(`Expected Chromium in one of ${places.join(', ')} or named by CHROMIUM (apt-get install chromium)`)
  }
  // Containers seldom allow what its sandbox is made of; the pages are our own.
  return chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] })
}
