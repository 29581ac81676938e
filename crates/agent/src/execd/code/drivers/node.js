// JavaScript and TypeScript contexts, seen from inside. Talks to the agent over descriptor 3: a line of JSON per message.
//
// Code is evaluated as the developer tools do it: names may be declared again, and `await` needs no function around it.
// What runs of it runs inside of a script that SIGINT ends, which leaves everything else as it is.
(() => {
    'use strict';
    const fs = require('fs'), net = require('net'), path = require('path'), util = require('util'), vm = require('vm');
    const { Session } = require('inspector');
    const { createRequire } = require('module');
    const { pathToFileURL } = require('url');
    const { Readable, Writable } = require('stream');
    const CONTROL = 3;
    const soon = setImmediate;
    let session = null;

    let count = 0;
    // The run that has not ended: its number, its code as it is evaluated.
    let running = null;

    const sleeper = new Int32Array(new SharedArrayBuffer(4));

    // Writes all of it before it returns, also to what does not block.
    function write(fd, bytes) {
        for (let sent = 0; sent < bytes.length;) {
            try {
                sent += fs.writeSync(fd, bytes, sent);
            } catch (error) {
                if (error.code !== 'EAGAIN') throw error;
                Atomics.wait(sleeper, 0, 0, 1);
            }
        }
    }

    // Halves of characters are no JSON for the agent.
    const wellFormed = (_key, value) => (typeof value === 'string' ? Buffer.from(value).toString() : value);

    function send(message) {
        try {
            write(CONTROL, Buffer.from(JSON.stringify(message, wellFormed) + '\n'));
        } catch {
            // The agent is gone.
            process.kill(process.pid, 'SIGKILL');
        }
    }

    // Never inside of what a signal ends: a message must be whole.
    function finish(message) {
        if (message.error === INTERRUPTED) {
            isStale = true;
            soon(sessionRenew);
        }
        running = null;
        send({ type: 'done', ...message });
    }

    // What is said first of how a run has ended counts.
    function finishIfEnded() {
        if (running?.outcome) finish(running.outcome);
    }

    // Interrupts.

    const INTERRUPTED = { ename: 'KeyboardInterrupt', evalue: 'the code was interrupted', traceback: ['KeyboardInterrupt'] };
    let job = null;
    Object.defineProperty(globalThis, '__atoll_bounded', { value: () => job() });
    const boundary = new vm.Script('__atoll_bounded()', { filename: 'node:atoll' });
    const tick = process._tickCallback;

    // Calls this so that an interrupt ends it. Also what it leaves to be done at once, as after an `await`.
    function bounded(call) {
        const run = running, before = job;
        job = () => { call(); tick(); };
        try {
            boundary.runInThisContext({ breakOnSigint: true });
        } catch (error) {
            if (error?.code !== 'ERR_SCRIPT_EXECUTION_INTERRUPTED') throw error;
            if (run && running === run) run.outcome ??= { error: INTERRUPTED };
        } finally {
            job = before;
        }
        if (!job) finishIfEnded();
    }

    const THREADS = '/proc/self/task';

    // From now on SIGINT ends what is bounded and does nothing else; there is no moment at which it ends the process. The
    // signal's handler wakes a thread, which does it.
    const watchdog = (() => {
        const warn = process.emitWarning, others = new Set(fs.readdirSync(THREADS));
        process.emitWarning = () => {};
        require('internal/test/binding').internalBinding('contextify').startSigintWatchdog();
        process.emitWarning = warn;
        return fs.readdirSync(THREADS).find((thread) => !others.has(thread));
    })();

    // The agent sends no more signals when it asks for this. Those that it has sent were handled when this thread came
    // back from reading the request; when the other thread sleeps, it has done what they woke it for, and none is left to
    // end the next run.
    function settle() {
        const isAsleep = () => fs.readFileSync(`${THREADS}/${watchdog}/stat`, 'latin1').split(') ').pop().startsWith('S');
        while (!isAsleep()) Atomics.wait(sleeper, 0, 0, 1);
        send({ type: 'settled' });
    }

    // What waits for something is not ended by a signal. Its timers must not go on with it later.
    function interrupted(run) {
        if (!running || run !== count) return;
        for (const timer of running.timers) {
            clearTimeout(timer);
            clearImmediate(timer);
        }
        finish({ error: INTERRUPTED });
    }

    const complain = (error) => console.error('Uncaught', error instanceof Error ? trace(error).join('\n') : error);
    process.on('uncaughtException', complain);
    process.on('unhandledRejection', complain);

    for (const name of ['setTimeout', 'setInterval', 'setImmediate']) {
        const own = globalThis[name];
        const wrapped = function (call, ...rest) {
            if (typeof call !== 'function') return own(call, ...rest);
            const { timers } = running ?? {};
            const timer = own(function (...values) {
                if (name !== 'setInterval') timers?.delete(timer);
                bounded(() => { call.apply(this, values); });
            }, ...rest);
            timers?.add(timer);
            return timer;
        };
        for (const key of Reflect.ownKeys(own)) {
            const property = Object.getOwnPropertyDescriptor(own, key);
            if (key !== 'prototype') Object.defineProperty(wrapped, key, property);
        }
        globalThis[name] = wrapped;
    }

    // What code finds.

    const folder = process.cwd();
    const requireHere = createRequire(path.join(folder, 'cell.js'));
    globalThis.require = requireHere;
    let stdin = null;
    const stdinRefuse = () => Object.assign(new Readable({
        read() { this.destroy(new Error('standard input is not available here: code in a context can not ask for input')); },
    }), { fd: 0 });
    Object.defineProperty(process, 'stdin', {
        configurable: true, enumerable: true,
        get: () => (stdin && !stdin.destroyed ? stdin : stdin = stdinRefuse()),
    });
    // The platform's own would keep in memory what nobody has read yet, and have it come after the code has ended. These
    // keep nothing, nor a state that an interrupt could leave half changed.
    for (const [fd, name] of [[1, 'stdout'], [2, 'stderr']]) {
        const stream = new Writable({ write(_bytes, _encoding, done) { done(); } });
        stream.fd = fd;
        stream.write = (chunk, encoding, done) => {
            [encoding, done] = typeof encoding === 'function' ? [undefined, encoding] : [encoding, done];
            let failure = null;
            try {
                write(fd, typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk);
            } catch (error) {
                failure = error;
            }
            if (done) process.nextTick(done, failure);
            return true;
        };
        Object.defineProperty(process, name, { configurable: true, enumerable: true, value: stream });
    }
    const url = pathToFileURL(path.join(folder, 'cell.js')).href;
    const hidden = (name, value) => Object.defineProperty(globalThis, name, { value });
    hidden('__atoll_import', async (name, options) => {
        const wanted = /^\.{0,2}\//.test(String(name)) ? pathToFileURL(path.resolve(String(name))).href : name;
        return options ? import(wanted, options) : import(wanted);
    });
    hidden('__atoll_meta', { url, filename: path.join(folder, 'cell.js'), dirname: folder, resolve: (name) => pathToFileURL(requireHere.resolve(name)).href });

    // From a module's code to what can be evaluated again and again: imports become calls, exports nothing, and what is
    // declared at the top may have been declared before, in whatever way.

    const acorn = require('internal/deps/acorn/acorn/dist/acorn');
    // How the names were declared that there are: `let` and `class` are of one kind, `var` and `function` of the other.
    const declared = new Map();

    function parse(code) {
        const options = { ecmaVersion: 'latest', allowAwaitOutsideFunction: true, allowHashBang: true };
        for (const sourceType of ['module', 'script']) {
            try {
                return acorn.parse(code, { ...options, sourceType });
            } catch {
                // What is wrong with it is said where it is evaluated.
            }
        }
        return null;
    }

    const nameOf = (node) => node.name ?? JSON.stringify(node.value);

    function importCall(node) {
        const pairs = (node.attributes ?? []).map((one) => `${nameOf(one.key)}: ${one.value.raw}`);
        return `await __atoll_import(${node.source.raw}${pairs.length ? `, {with: {${pairs}}}` : ''})`;
    }

    function importRewrite(node) {
        const all = node.specifiers.find((one) => one.type === 'ImportNamespaceSpecifier');
        const named = node.specifiers.filter((one) => one !== all)
            .map((one) => `${one.imported ? nameOf(one.imported) : 'default'}: ${one.local.name}`);
        const pattern = named.length ? `{${named}}` : null;
        const names = node.specifiers.map((one) => one.local.name);
        const declarations = all ? [`${all.local.name} = ${importCall(node)}`] : [];
        if (pattern) declarations.push(`${pattern} = ${all ? all.local.name : importCall(node)}`);
        if (!declarations.length) return `void ${importCall(node)};`;
        if (names.some((name) => declared.get(name) === 'var')) return `void (${declarations});`;
        names.forEach((name) => declared.set(name, 'let'));
        return `let ${declarations};`;
    }

    function namesOf(pattern, names = []) {
        switch (pattern?.type) {
            case 'Identifier': names.push(pattern.name); break;
            case 'ObjectPattern': pattern.properties.forEach((one) => namesOf(one.value ?? one.argument, names)); break;
            case 'ArrayPattern': pattern.elements.forEach((one) => namesOf(one, names)); break;
            case 'AssignmentPattern': namesOf(pattern.left, names); break;
            case 'RestElement': namesOf(pattern.argument, names);
        }
        return names;
    }

    // Declares names, or says that they are there already in another way, so that values must be assigned instead.
    function declare(names, kind) {
        if (names.some((name) => declared.has(name) && declared.get(name) !== kind)) return false;
        names.forEach((name) => declared.set(name, kind));
        return true;
    }

    function rewrite(code) {
        const tree = parse(code);
        if (!tree) return code;
        const edits = [];
        const replace = (start, end, text) => edits.push([start, end, text]);
        const assignEnd = (node) => replace(code[node.end - 1] === ';' ? node.end - 1 : node.end, node.end, ');');

        function variables(node, parent) {
            const names = node.declarations.flatMap((one) => namesOf(one.id));
            const kind = node.kind === 'var' ? 'var' : 'let';
            const keyword = [node.start, node.start + node.kind.length];
            const isHead = /^For/.test(parent.type) && parent.body !== node;
            if (declare(names, kind)) {
                if (node.kind === 'const' && !isHead) replace(...keyword, 'let');
            } else if (isHead) {
                replace(...keyword, '');
            } else {
                replace(...keyword, 'void (');
                for (const { id, init } of node.declarations) {
                    if (!init && kind === 'let') replace(id.end, id.end, ' = undefined');
                }
                assignEnd(node);
            }
        }

        function named(node, kind) {
            if (node.id && !declare([node.id.name], kind)) {
                replace(node.start, node.start, `void (${node.id.name} = `);
                replace(node.end, node.end, ');');
            }
        }

        // `inside` says whether it is in a function, where nothing is declared for others.
        (function walk(node, parent, inside) {
            const isTop = parent === tree || parent?.type.startsWith('Export');
            switch (node.type) {
                case 'ImportDeclaration': return replace(node.start, node.end, importRewrite(node));
                case 'ExportAllDeclaration': return replace(node.start, node.end, `void ${importCall(node)};`);
                case 'ExportNamedDeclaration':
                    if (!node.declaration) return replace(node.start, node.end, node.source ? `void ${importCall(node)};` : '');
                    replace(node.start, node.declaration.start, '');
                    break;
                case 'ExportDefaultDeclaration':
                    replace(node.start, node.declaration.start, node.declaration.id ? '' : 'void ');
                    break;
                case 'ImportExpression': replace(node.start, node.start + 'import'.length, '__atoll_import'); break;
                case 'MetaProperty':
                    if (node.meta.name === 'import') replace(node.start, node.end, '__atoll_meta');
                    return;
                case 'VariableDeclaration':
                    if (isTop || (node.kind === 'var' && !inside)) variables(node, parent);
                    break;
                case 'ClassDeclaration':
                    if (isTop) named(node, 'let');
                    break;
                case 'FunctionDeclaration':
                    if (isTop) named(node, 'var');
            }
            inside ||= /Function|^StaticBlock$|^PropertyDefinition$/.test(node.type);
            for (const value of Object.values(node)) {
                for (const child of Array.isArray(value) ? value : [value]) {
                    if (child && typeof child.type === 'string') walk(child, node, inside);
                }
            }
        })(tree, null, false);
        edits.sort((one, other) => other[0] - one[0] || other[1] - one[1]);
        for (const [start, end, text] of edits) {
            // The lines after it keep their numbers.
            const lines = code.slice(start, end).split('\n').length - text.split('\n').length;
            code = code.slice(0, start) + text + '\n'.repeat(Math.max(lines, 0)) + code.slice(end);
        }
        return code;
    }

    // TypeScript: its types are dropped, not checked.

    let transpile = null;
    function typescriptFind() {
        const prefix = path.resolve(process.execPath, '../../lib');
        for (const place of [folder, prefix, '/usr/local/lib', '/usr/lib', '/usr/share/nodejs', '/opt/atoll/toolchains/typescript']) {
            let ts;
            try {
                ts = createRequire(path.join(place, 'any.js'))('typescript');
            } catch {
                continue;
            }
            if (typeof ts.transpileModule !== 'function') continue;
            // What is imported now may be used later: nothing may be left out for being unused.
            const keep = parseInt(ts.version) >= 5 ? { verbatimModuleSyntax: true } : { preserveValueImports: true, isolatedModules: true };
            const compilerOptions = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, experimentalDecorators: true, ...keep };
            return (code) => {
                const { outputText, diagnostics } = ts.transpileModule(code, { compilerOptions, reportDiagnostics: true, fileName: 'cell.ts' });
                const wrong = diagnostics.find((one) => one.category === ts.DiagnosticCategory.Error && one.code < 2000);
                if (wrong) {
                    const { line } = ts.getLineAndCharacterOfPosition(wrong.file, wrong.start);
                    throw new SyntaxError(`${ts.flattenDiagnosticMessageText(wrong.messageText, '\n')} (line ${line + 1})`);
                }
                return outputText;
            };
        }
        const { stripTypeScriptTypes } = require('module');
        if (stripTypeScriptTypes) {
            return (code) => {
                const warn = process.emitWarning;
                process.emitWarning = () => {};
                try {
                    return stripTypeScriptTypes(code, { mode: 'transform' });
                } finally {
                    process.emitWarning = warn;
                }
            };
        }
        throw new Error(`TypeScript needs Node.js 22.13 or the package typescript; this is Node.js ${process.version}, and there is no such package`);
    }

    // What comes out.

    function trace(error) {
        const lines = String(error.stack ?? error).split('\n');
        // The driver and the platform are below the code that it has them run; what that calls is above.
        const own = lines.findLastIndex((line) => /^\s+at .*\bcell-\d+\.js:/.test(line));
        const below = own < 0 ? /\((node:(inspector|vm|atoll)|\[eval)/ : /^\s+at .*(node:|\[eval)/;
        const end = lines.findIndex((line, index) => index > own && below.test(line));
        return end < 0 ? lines : lines.slice(0, end);
    }

    function describe(error, details, code) {
        if (!util.types.isNativeError(error) && !(error instanceof Error)) {
            const text = util.inspect(error);
            return { ename: 'Uncaught', evalue: text, traceback: [`Uncaught ${text}`] };
        }
        let traceback = trace(error);
        if (error.name === 'SyntaxError' && details && !traceback.some((line) => line.includes('cell-'))) {
            const line = code.split('\n')[details.lineNumber] ?? '';
            traceback = [`cell-${count}.js:${details.lineNumber + 1}`, line, `${' '.repeat(details.columnNumber)}^`, '', ...traceback];
        }
        return { ename: String(error.name), evalue: String(error.message), traceback };
    }

    // The values themselves, which the inspector only has names for.
    let taken;
    let taker;
    let isStale = true;

    // A session waits for what an interrupted run would have settled, and would tell that it is gone while memory is
    // collected, when nothing may be called.
    function sessionRenew() {
        if (!isStale || running) return;
        isStale = false;
        session?.disconnect();
        session = new Session();
        session.connect();
        globalThis.__atoll_taker = { take: (value) => { taken = value; } };
        session.post('Runtime.evaluate', { expression: '__atoll_taker' }, (_, { result }) => { taker = result.objectId; });
        delete globalThis.__atoll_taker;
    }
    sessionRenew();

    function take({ objectId, unserializableValue, value }) {
        const given = objectId ? { objectId } : unserializableValue ? { unserializableValue } : { value };
        session.post('Runtime.callFunctionOn', {
            objectId: taker, functionDeclaration: 'function(value) { this.take(value); }', arguments: [given],
        }, () => {});
        const found = taken;
        taken = undefined;
        return found;
    }

    function evaluated(run, failure, answer) {
        if (running !== run || run.outcome) return;
        if (failure) return void (run.outcome = { error: INTERRUPTED });
        const { result, exceptionDetails } = answer;
        try {
            if (exceptionDetails) {
                run.outcome = { error: describe(take(exceptionDetails.exception), exceptionDetails, run.code) };
            } else if (result.type === 'undefined') {
                run.outcome = {};
            } else {
                run.outcome = { data: { text: util.inspect(take(result)) } };
            }
        } finally {
            session.post('Runtime.releaseObjectGroup', { objectGroup: 'cell' }, () => {});
        }
    }

    function run({ code, language }) {
        sessionRenew();
        count += 1;
        const run = running = { code, timers: new Set() };
        try {
            if (language === 'typescript') run.code = (transpile ??= typescriptFind())(code);
            run.code = rewrite(run.code);
        } catch (error) {
            send({ type: 'begun' });
            return finish({ error: { ename: error.name, evalue: error.message, traceback: [`${error.name}: ${error.message}`] } });
        }
        send({ type: 'begun' });
        bounded(() => {
            session.post('Runtime.evaluate', {
                expression: `${run.code}\n//# sourceURL=cell-${count}.js`, replMode: true, objectGroup: 'cell',
            }, (failure, answer) => {
                if (job) evaluated(run, failure, answer); else bounded(() => evaluated(run, failure, answer));
            });
        });
    }

    const control = new net.Socket({ fd: CONTROL, readable: true, writable: false });
    let rest = '';
    control.setEncoding('utf8');
    control.on('data', (text) => {
        const lines = (rest + text).split('\n');
        rest = lines.pop();
        for (const line of lines) {
            const message = JSON.parse(line);
            if (message.type === 'run') run(message);
            else if (message.type === 'interrupt') interrupted(message.run);
            else if (message.type === 'settle') settle();
        }
    });
    control.on('end', () => process.kill(process.pid, 'SIGKILL'));
})();
