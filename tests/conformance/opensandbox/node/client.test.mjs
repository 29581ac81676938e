// The published client of npm, in both ways into a sandbox. `ATOLL_DOMAIN` and `ATOLL_KEY` say where the server is.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { after, describe, test } from "node:test";

import { ConnectionConfig, Sandbox, SandboxApiException, SandboxManager } from "@alibaba-group/opensandbox";

const connectionConfig = (useServerProxy) =>
  new ConnectionConfig({
    domain: process.env.ATOLL_DOMAIN,
    apiKey: process.env.ATOLL_KEY,
    protocol: "http",
    useServerProxy,
  });

const texts = (messages) => messages.map((message) => message.text);

for (const proxied of [false, true]) {
  describe(proxied ? "proxied" : "direct", async () => {
    const sandbox = await Sandbox.create({
      connectionConfig: connectionConfig(proxied),
      image: "host",
      timeoutSeconds: 600,
      env: { WORD: "a=b c" },
      metadata: { by: proxied ? "proxied" : "direct" },
      resource: { cpu: "1", memory: "512Mi" },
    });
    after(async () => {
      await sandbox.kill();
      await sandbox.close();
    });

    test("commands, both streams, their ends", async () => {
      const seen = [];
      const ran = await sandbox.commands.run("echo $WORD; echo err >&2; printf tail; exit 3", undefined, {
        onStdout: (message) => seen.push(message.text),
      });
      assert.deepEqual(texts(ran.logs.stdout), ["a=b c", "tail"]);
      assert.deepEqual(texts(ran.logs.stderr), ["err"]);
      assert.deepEqual(seen, ["a=b c", "tail"]);
      assert.equal(ran.exitCode, 3);
      assert.equal(ran.error.name, "CommandExecError");
    });

    test("commands in the background and their logs", async () => {
      const started = await sandbox.commands.run("echo one; exit 4", { background: true });
      let status;
      do status = await sandbox.commands.getCommandStatus(started.id);
      while (status.running);
      assert.equal(status.exitCode, 4);
      assert.equal((await sandbox.commands.getBackgroundCommandLogs(started.id)).content, "one\n");
    });

    test("sessions remember", async () => {
      const session = await sandbox.commands.createSession({ workingDirectory: "/tmp" });
      await sandbox.commands.runInSession(session, "X=5; cd /usr");
      const ran = await sandbox.commands.runInSession(session, "echo $X; pwd");
      assert.deepEqual(texts(ran.logs.stdout), ["5", "/usr"]);
      await sandbox.commands.deleteSession(session);
    });

    test("files of text and of bytes", async () => {
      const noise = new Uint8Array(randomBytes(2_000_000));
      await sandbox.files.createDirectories([{ path: "/tmp/f", mode: 755 }]);
      await sandbox.files.writeFiles([
        { path: "/tmp/f/ü.txt", data: "grüße\n", mode: 640 },
        { path: "/tmp/f/noise", data: noise },
      ]);
      assert.equal(await sandbox.files.readFile("/tmp/f/ü.txt"), "grüße\n");
      assert.deepEqual(new Uint8Array(await sandbox.files.readBytes("/tmp/f/noise")), noise);
      const found = await sandbox.files.search({ path: "/tmp/f", pattern: "*.txt" });
      assert.deepEqual(found.map((entry) => entry.path), ["/tmp/f/ü.txt"]);
      assert.equal((await sandbox.files.getFileInfo(["/tmp/f/ü.txt"]))["/tmp/f/ü.txt"].mode, 640);
      await sandbox.files.moveFiles([{ src: "/tmp/f/noise", dest: "/tmp/f/moved" }]);
      await sandbox.files.replaceContents([{ path: "/tmp/f/ü.txt", oldContent: "grüße", newContent: "küsse" }]);
      assert.equal(await sandbox.files.readFile("/tmp/f/ü.txt"), "küsse\n");
      await sandbox.files.deleteFiles(["/tmp/f/moved"]);
      await sandbox.files.deleteDirectories(["/tmp/f"]);
      await assert.rejects(sandbox.files.readFile("/tmp/f/ü.txt"), SandboxApiException);
    });

    test("metrics are the sandbox's", async () => {
      const metrics = await sandbox.getMetrics();
      assert.equal(metrics.cpuCount, 1);
      assert.equal(metrics.memoryTotalMiB, 512);
    });

    test("pause, resume, renew and labels", async () => {
      await sandbox.files.writeFiles([{ path: "/tmp/kept", data: "kept" }]);
      await sandbox.pause();
      assert.equal((await sandbox.getInfo()).status.state, "Paused");
      const resumed = await sandbox.resume();
      assert.equal(await resumed.files.readFile("/tmp/kept"), "kept");
      await resumed.renew(3600);
      await resumed.patchMetadata({ more: "yes" });
      const info = await resumed.getInfo();
      assert.equal(info.metadata.more, "yes");
      assert.ok(info.expiresAt - Date.now() > 3_000_000);
    });

    test("the network policy", async () => {
      await sandbox.patchEgressRules([{ action: "deny", target: "example.com" }]);
      const policy = await sandbox.getEgressPolicy();
      assert.ok(policy.egress.some((rule) => rule.target === "example.com" && rule.action === "deny"));
      await sandbox.deleteEgressRules(["example.com"]);
    });

    test("a server inside", async () => {
      await sandbox.commands.run("cd /tmp && echo served > page && exec python3 -m http.server 8000", {
        background: true,
      });
      const { endpoint, headers } = await sandbox.getEndpoint(8000);
      let answer;
      do answer = await fetch(`http://${endpoint}/page`, { headers });
      while (answer.status === 502);
      assert.equal(await answer.text(), "served\n");
      assert.equal((await fetch(`http://${endpoint}/page`)).status, 401);
    });

    test("snapshots, and many sandboxes", async () => {
      const manager = SandboxManager.create({ connectionConfig: connectionConfig(proxied) });
      const listed = await manager.listSandboxInfos({ metadata: { by: proxied ? "proxied" : "direct" } });
      assert.ok(listed.items.some((info) => info.id === sandbox.id));
      await sandbox.files.writeFiles([{ path: "/root/kept", data: "as it was" }]);
      const snapshot = await manager.createSnapshot(sandbox.id, { name: "npm" });
      const second = await Sandbox.create({
        connectionConfig: connectionConfig(proxied),
        snapshotId: snapshot.id,
      });
      assert.equal(await second.files.readFile("/root/kept"), "as it was");
      await second.kill();
      await second.close();
      await manager.deleteSnapshot(snapshot.id);
      await manager.close();
    });
  });
}

test("mistakes are refused with their reason", async () => {
  await assert.rejects(
    Sandbox.create({
      connectionConfig: connectionConfig(false),
      image: "host",
      resource: { cpu: "lots", memory: "1Gi" },
    }),
    (error) => error instanceof SandboxApiException && error.statusCode === 400 && /cpu/.test(error.message),
  );
});
