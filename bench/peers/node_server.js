// node_server.js PORT echo|sink: the same server on Node.
const net = require('net');

const [port, kind] = process.argv.slice(2);

function serve(stream) {
  stream.on('error', () => stream.destroy());
  if (kind === 'sink') {
    stream.on('data', () => {});
    return;
  }
  stream.on('data', (data) => {
    if (!stream.write(data)) {
      stream.pause();
    }
  });
  stream.on('drain', () => stream.resume());
}

const server = net.createServer({ noDelay: true }, serve);
server.listen({ port: Number(port), host: '127.0.0.1', backlog: 1024 }, () => {
  console.log(`listening on 127.0.0.1:${server.address().port}`);
});
