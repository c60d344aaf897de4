import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import type { NewContainer } from '../support/clients/api-client';
import { Berth, type TestUser } from '../support/servers/berth';
import { ConsoleBrowser } from '../support/clients/console-browser';
import { eventually } from '../support/eventually';

jest.setTimeout(240_000);

/** More than a tar header has room for. */
const LONG = `${'a-long-name-'.repeat(12)}ü.txt`;

const here = mkdtempSync(join(tmpdir(), 'berth-folder-'));
let server: Berth;
let browser: ConsoleBrowser;
let user: TestUser;
let container: NewContainer;
let page: Page;
/** Of what was started. */
const endings: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  mkdirSync(join(here, 'project', 'src'), { recursive: true });
  mkdirSync(join(here, 'project', 'empty'));
  writeFileSync(join(here, 'project', 'README.md'), 'read me\n');
  writeFileSync(join(here, 'project', 'src', LONG), 'long\n');
  writeFileSync(join(here, 'single.txt'), 'single\n');
  server = await Berth.start({ subject: 'console-files' });
  endings.push(() => server.stop());
  browser = await ConsoleBrowser.launch(server.url);
  endings.push(() => browser.close());
  user = await server.user('pro');
  container = await user.api.running({ name: 'once', custom_image: process.env['TEST_SANDBOX_IMAGE'] });
  page = await browser.signedIn(user, await browser.context({ viewport: { width: 1280, height: 900 } }));
  await page.goto(`/containers/${container.db_id}#files`);
  await page.getByText('This folder is empty').waitFor();
});

afterAll(async () => {
  rmSync(here, { recursive: true });
  for (const end of endings.reverse()) await end();
});

const sh = async (script: string): Promise<string> => {
  const path = `/api/containers/${container.db_id}/exec`;
  return String((await user.api.call('POST', path, { command: ['sh', '-c', script] })).body['stdout']);
};

const open = (name: string): Promise<void> => page.getByRole('button', { name, exact: true }).click();

/** As a person drops files and folders: Chromium itself makes the event, and reads them. */
async function drop(...paths: string[]): Promise<void> {
  const target = await page.getByRole('region', { name: 'Files in' }).boundingBox();
  if (!target) throw new Error('there is no place to drop anything');
  const session = await page.context().newCDPSession(page);
  const event = { x: target.x + 40, y: target.y + 20, data: { items: [], files: paths, dragOperationsMask: 1 } };
  for (const type of ['dragEnter', 'dragOver', 'drop'] as const) {
    await session.send('Input.dispatchDragEvent', { type, ...event });
  }
  await session.detach();
}

const UPLOADED = `./README.md\n./empty\n./src\n./src/${LONG}\n`;
const listed = (folder: string): Promise<string> => sh(`cd ${folder} && find . ! -name . | LC_ALL=C sort`);

describe('folders in the console, on Docker under gVisor', () => {
  it('must be uploaded where they are dropped, with long names, empty folders and files beside them', async () => {
    await drop(join(here, 'project'), join(here, 'single.txt'));
    await page.getByText('All transfers finished').waitFor();
    expect(await listed('/home/user/project')).toBe(UPLOADED);
    expect(await sh(`cat /home/user/single.txt /home/user/project/src/*`)).toBe('single\nlong\n');
    await page.getByRole('button', { name: 'project', exact: true }).waitFor();
  });

  it('must be uploaded where they are chosen, with all files in them', async () => {
    await sh('rm -r /home/user/project');
    await page.getByLabel('Folder to upload').setInputFiles(join(here, 'project'));
    const arrived = UPLOADED.replace('./empty\n', '');
    await eventually(async () => expect(await listed('/home/user/project')).toBe(arrived));
  });

  it('must be downloaded as an archive', async () => {
    await page.getByRole('button', { name: 'More for project' }).click();
    const downloading = page.waitForEvent('download');
    await page.getByRole('menuitem', { name: 'Download as tar' }).click();
    const download = await downloading;
    expect(download.suggestedFilename()).toBe('project.tar');
    const names = execFileSync('tar', ['-tf', await download.path()], { env: { LC_ALL: 'C.UTF-8' } }).toString();
    expect(names.split('\n').sort()).toEqual(expect.arrayContaining(['./README.md', `./src/${LONG}`]));
  });

  it('must be listed again when programs change them, with the selection', async () => {
    await page.getByLabel('Select single.txt').check();
    await sh('echo x > /home/user/by-a-program; rm -r /home/user/project');
    await page.getByRole('button', { name: 'by-a-program', exact: true }).waitFor();
    await page.getByRole('button', { name: 'project', exact: true }).waitFor({ state: 'detached' });
    expect(await page.getByLabel('Select single.txt').isChecked()).toBe(true);
    await page.getByLabel('Select single.txt').uncheck();
    await sh('rm /home/user/by-a-program; mkdir -p /home/user/project; echo read me > /home/user/project/README.md');
    await page.getByRole('button', { name: 'project', exact: true }).waitFor();
  });

  it('must be said to be unreadable where the browser cannot read one', async () => {
    await page.evaluate('globalThis.getAsEntry = DataTransferItem.prototype.webkitGetAsEntry');
    await page.evaluate('delete DataTransferItem.prototype.webkitGetAsEntry');
    await drop(join(here, 'project'));
    await page.getByText('This browser cannot read “project”. For a folder, use “Upload folder”.').waitFor();
    await page.evaluate('DataTransferItem.prototype.webkitGetAsEntry = globalThis.getAsEntry');
    expect(await page.getByText('The server is not responding').count()).toBe(0);
  });

  it('must be opened by links to them, while links to files are edited', async () => {
    await sh('cd /home/user && ln -s project to-folder && ln -s project/README.md to-file && ln -s nowhere to-nothing');
    await page.reload();
    await open('to-nothing');
    await page.getByText('This path does not exist.').waitFor();
    await open('to-file');
    await page.getByLabel('Content of to-file').getByText('read me').waitFor();
    await open('Close');
    await open('to-folder');
    await page.getByRole('region', { name: 'Files in /home/user/to-folder' }).waitFor();
    await page.getByRole('button', { name: 'README.md', exact: true }).waitFor();
    const downloading = page.waitForEvent('download');
    await open('Download folder');
    expect((await downloading).suggestedFilename()).toBe('to-folder.tar');
  });

  it('must not have a file edited that is too large, also where a small link leads to it', async () => {
    await sh('cd /home/user && head -c 2000000 /dev/zero > project/big && ln -s project/big to-big');
    await page.goto(`/containers/${container.db_id}#files`);
    await page.reload();
    await open('to-big');
    await page.getByText('This file is too large to edit here.').waitFor();
    await open('Close');
  });

  it('must have all that can be done with them on a phone too', async () => {
    await page.setViewportSize({ width: 320, height: 740 });
    await page.getByRole('button', { name: 'Download folder' }).waitFor();
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(320);
    expect(await browser.faultsOf(page)).toEqual([]);
  });

  it('must have been without a complaint of the browser', () => {
    expect(browser.complaints).toEqual([]);
  });
});
