// One picture of each dashboard, from a headless Chromium that is spoken to over a pipe (its DevTools protocol).
//
//   node pictures.mjs VIEWER DASHBOARDS PICTURES MINUTES SCRAPE_SECONDS
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, parse, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const WIDTH = 1400;
const PATIENCE_MS = 60_000;
const [viewer, dashboards, pictures, minutes, scrapeSeconds] = process.argv.slice(2);
const address = 'http://127.0.0.1:9090';

class Browser {
  #answers = new Map();
  #id = 0;
  #rest = '';

  constructor(profile) {
    const words = ['--headless=new', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--remote-debugging-pipe'];
    this.process = spawn('chromium', [...words, '--force-color-profile=srgb', `--user-data-dir=${profile}`, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    });
    this.ended = new Promise((resolve) => this.process.once('exit', resolve).once('error', resolve));
    this.process.stdio[4].setEncoding('utf8').on('data', (text) => this.#hear(text));
    this.ended.then(() => this.#answers.forEach(({ reject }) => reject(new Error('chromium has ended'))));
  }

  #hear(text) {
    const messages = (this.#rest + text).split('\0');
    this.#rest = messages.pop();
    for (const { id, error, result } of messages.map((message) => JSON.parse(message))) {
      const waiting = this.#answers.get(id);
      this.#answers.delete(id);
      if (error) waiting?.reject(new Error(error.message));
      else waiting?.resolve(result);
    }
  }

  send(method, params = {}, sessionId = undefined) {
    const id = ++this.#id;
    this.process.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return new Promise((resolve, reject) => this.#answers.set(id, { resolve, reject }));
  }

  async close() {
    await this.send('Browser.close').catch(() => this.process.kill());
    await this.ended;
  }
}

async function draw(browser, dashboard) {
  const { targetId } = await browser.send('Target.createTarget', { url: 'about:blank' });
  const { sessionId } = await browser.send('Target.attachToTarget', { targetId, flatten: true });
  const page = (method, params) => browser.send(method, params, sessionId);
  const value = async (expression) => (await page('Runtime.evaluate', { expression, returnByValue: true })).result.value;
  const job = JSON.stringify({ dashboard, address, minutes: Number(minutes), scrapeSeconds: Number(scrapeSeconds) });
  await page('Page.enable');
  await page('Emulation.setDeviceMetricsOverride', { width: WIDTH, height: 1000, deviceScaleFactor: 1, mobile: false });
  await page('Page.addScriptToEvaluateOnNewDocument', { source: `window.job = ${job}` });
  await page('Page.navigate', { url: pathToFileURL(resolve(viewer, 'index.html')).href });
  const end = Date.now() + PATIENCE_MS;
  for (let title = ''; title !== 'drawn'; title = await value('document.title')) {
    if (title?.startsWith('fault: ')) throw new Error(title.slice(7));
    if (Date.now() > end) throw new Error(`${dashboard.title} is not drawn after ${PATIENCE_MS / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  const height = Number(await value('document.body.dataset.height'));
  const empty = JSON.parse(await value('document.body.dataset.empty'));
  const clip = { x: 0, y: 0, width: WIDTH, height, scale: 1 };
  const { data } = await page('Page.captureScreenshot', { format: 'png', clip, captureBeyondViewport: true });
  await browser.send('Target.closeTarget', { targetId });
  return { png: Buffer.from(data, 'base64'), empty };
}

const profile = mkdtempSync(join(tmpdir(), 'cdp-chromium-'));
const browser = new Browser(profile);
try {
  for (const file of readdirSync(dashboards).filter((name) => name.endsWith('.json'))) {
    const { png, empty } = await draw(browser, JSON.parse(readFileSync(join(dashboards, file), 'utf8')));
    writeFileSync(join(pictures, `${parse(file).name}.png`), png);
    console.log(`${file}: ${Math.round(png.length / 1000)} kB${empty.length ? `; no data: ${empty.join(', ')}` : ''}`);
  }
} catch (fault) {
  console.error(`pictures.mjs: ${fault.message}`);
  process.exitCode = 1;
} finally {
  await browser.close();
  rmSync(profile, { recursive: true, force: true });
}
