// node_client.js PORT CONNS SIZE SECS: ping-pong. Prints JSON: what was done, in how long, with how much CPU time.
const net = require('net');

const [port, count, size, secs] = process.argv.slice(2).map(Number);
const message = Buffer.alloc(size, 'x');
let connected = 0;
let live = count;
let done = 0;
let start;
let cpu;
let end;

function finish() {
  const { user, system } = process.cpuUsage(cpu);
  const took = Number(process.hrtime.bigint() - start) / 1e9;
  console.log(JSON.stringify({ ops: done, secs: took, cpu_us: user + system }));
  process.exit(0);
}

function play(stream) {
  let got = 0;
  let asked = 0;
  stream.on('data', (data) => {
    got += data.length;
    if (got < size) {
      return;
    }
    got = 0;
    done += 1;
    asked += 1;
    if (asked % 16 !== 0 || process.hrtime.bigint() < end) {
      stream.write(message);
    } else {
      stream.destroy();
      live -= 1;
      if (live === 0) {
        finish();
      }
    }
  });
}

function begin(streams) {
  start = process.hrtime.bigint();
  cpu = process.cpuUsage();
  end = start + BigInt(Math.round(secs * 1e9));
  for (const stream of streams) {
    stream.write(message);
  }
}

const streams = [];
for (let i = 0; i < count; i += 1) {
  const stream = net.connect({ host: '127.0.0.1', port, noDelay: true }, () => {
    connected += 1;
    if (connected === count) {
      begin(streams);
    }
  });
  play(stream);
  streams.push(stream);
}
