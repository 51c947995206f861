// SPDX-License-Identifier: MIT
// A loaded engine in a process of its own, asked for passes over lines of text (see ort.js for the protocol).
//
// One request at a time. A process that dies, answers with an error or is silent for too long is an error that names
// the engine: a comparison never goes on without one of its sides.
'use strict';

const { spawn } = require('child_process');
const readline = require('readline');

const ANSWER_MS = 600000;

class Engine {
    constructor(name, command, args, env = {}) {
        this.name = name;
        this.waiting = null;
        this.child = spawn(command, args, {
            stdio: ['pipe', 'pipe', 'inherit'],
            env: { ...process.env, ...env },
        });
        this.child.on('error', (error) => this.fail(`${command}: ${error.message}`));
        this.child.on('exit', (code, signal) => this.fail(`ended (${signal || `exit ${code}`})`));
        this.child.stdin.on('error', () => {}); // its exit says more
        readline
            .createInterface({ input: this.child.stdout })
            .on('line', (line) => this.settle(line));
    }

    fail(reason) {
        this.broken = new Error(`${this.name}: ${reason}`);
        if (this.waiting) this.waiting.reject(this.broken);
    }

    settle(line) {
        if (!this.waiting) return;
        const { resolve, reject } = this.waiting;
        try {
            const object = JSON.parse(line);
            if (object.error) reject(new Error(`${this.name}: ${object.error}`));
            else resolve(object);
        } catch {
            reject(new Error(`${this.name}: not JSON: ${line.slice(0, 120)}`));
        }
    }

    // Waits for one line of answer.
    async answer() {
        if (this.broken) throw this.broken;
        let timer;
        try {
            return await new Promise((resolve, reject) => {
                this.waiting = { resolve, reject };
                timer = setTimeout(() => reject(new Error(`${this.name}: no answer`)), ANSWER_MS);
            });
        } finally {
            clearTimeout(timer);
            this.waiting = null;
        }
    }

    async start() {
        this.about = await this.answer();
        return this;
    }

    ask(line) {
        const answer = this.answer();
        if (!this.broken) this.child.stdin.write(line + '\n');
        return answer;
    }

    batch(lengths) {
        return this.ask(`batch ${lengths.join(' ')}`);
    }

    // → { ns: […], cpu_ns: […] } of each of `count` passes
    run(count) {
        return this.ask(`run ${count}`);
    }

    async stop() {
        if (this.broken) return;
        const gone = new Promise((resolve) => this.child.once('exit', resolve));
        this.child.stdin.end('quit\n');
        const timer = setTimeout(() => this.child.kill('SIGKILL'), 5000);
        await gone;
        clearTimeout(timer);
    }
}

module.exports = { Engine };
