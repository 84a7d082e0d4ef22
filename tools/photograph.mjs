// The example's report page as a PNG, for docs. It needs a browser, which nothing else here does:
//   npm install --no-save playwright-core @sparticuz/chromium && node tools/photograph.mjs
import { chromium as browsers } from 'playwright-core';
import chromium from '@sparticuz/chromium';
import { fileURLToPath } from 'node:url';

const images = new URL('../docs/images/', import.meta.url);
for (const colorScheme of ['light', 'dark']) { // a browser of its own for each: this one has a single process
  const browser = await browsers.launch({ executablePath: await chromium.executablePath(), args: chromium.args });
  const page = await browser.newPage({ viewport: { width: 1000, height: 1000 }, colorScheme });
  await page.goto(new URL('report.html', images).href);
  await page.screenshot({ path: fileURLToPath(new URL(`report-${colorScheme}.png`, images)) });
  await browser.close();
}
