// Checks for programs that print TAP.
import http from 'node:http';

let failed = 0;
const pending = [];

// test registers a check; run() runs them in order and ends the process.
export const test = (what, body) => pending.push({ what, body });

export const must = (ok, what) => {
	if (!ok)
		throw new Error(what);
};
export const equal = (got, want, what) => must(got === want,
	`${what}: ${JSON.stringify(got)}, not ${JSON.stringify(want)}`);

// refused: `body` throws, and quickly; `words` is in its message.
export const refused = async (what, body, words) => {
	const start = Date.now();
	let said;
	try {
		said = await body();
	} catch (e) {
		must(Date.now() - start < 5000, `${what}: refused too slowly`);
		must(words === undefined || e.message.includes(words),
			`${what}: ${e.message} lacks ${words}`);
		return;
	}
	throw new Error(`${what}: not refused: ${JSON.stringify(said)}`);
};

export const skip = (what, why) => pending.push({ what, why });

export const run = async () => {
	for (const { what, body, why } of pending) {
		if (why !== undefined) {
			console.log(`ok - ${what} # skip ${why}`);
			continue;
		}
		try {
			await body();
			console.log(`ok - ${what}`);
		} catch (e) {
			failed++;
			console.log(`not ok - ${what}`);
			console.log(String(e.stack).replace(/^/gm, '# '));
		}
	}
	process.exit(failed > 0 ? 1 : 0);
};

// raw sends one request that no SDK would, and gives status, body and JSON.
export const raw = (socket, method, path, body, headers = {}) =>
	new Promise((resolve, reject) => {
		const rq = http.request({ socketPath: socket, method, path,
			headers: body === undefined ? headers : {
				'Content-Type': 'application/json',
				'Content-Length': Buffer.byteLength(body),
				...headers } }, (rp) => {
			const parts = [];
			rp.on('data', (d) => parts.push(d));
			rp.on('end', () => {
				const all = Buffer.concat(parts);
				let json;
				try {
					json = JSON.parse(all.toString());
				} catch {
					json = undefined;
				}
				resolve({ status: rp.statusCode, body: all,
					headers: rp.headers, json });
			});
		});
		rq.on('error', reject);
		rq.end(body);
	});

// options reads --name VALUE and --flag from the command line.
export const options = (flags) => {
	const out = {}, argv = process.argv.slice(2);
	for (let i = 0; i < argv.length; i++) {
		const name = argv[i].replace(/^--/, '');
		must(name !== argv[i], `what is ${argv[i]}?`);
		if (flags.includes(name))
			out[name] = true;
		else
			out[name] = argv[++i];
	}
	return out;
};
