#!/usr/bin/env node
/** The command on Node.js: `npx runt`. */
import { RuntError } from '../base/errors.ts'
import { main } from '../cli/main.ts'
import { openPlatform } from './platform.ts'

try {
  const platform = openPlatform()
  platform.exit(await main(platform))
} catch (error) {
  if (error instanceof RuntError) process.stderr.write(`runt: ${error.message}\n`)
  else process.stderr.write(`runt: internal error: ${error instanceof Error ? error.stack : error}\n`)
  process.exit(error instanceof RuntError ? 1 : 255)
}
