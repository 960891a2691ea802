//! client PORT CONNS SIZE SECS: ping-pong, a task for each connection, on one thread.
//! Prints JSON: what was done, in how long, with how much CPU time.
use std::cell::Cell;
use std::env;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

extern "C" {
    fn clock() -> std::ffi::c_long; // POSIX: in microseconds
}

fn cpu_us() -> f64 {
    unsafe { clock() as f64 }
}

async fn play(mut stream: TcpStream, size: usize, end: Instant, done: Rc<Cell<u64>>) {
    let message = vec![b'x'; size];
    let mut buffer = vec![0u8; size];
    while Instant::now() < end {
        for _ in 0..16 {
            stream.write_all(&message).await.unwrap();
            stream.read_exact(&mut buffer).await.unwrap();
        }
        done.set(done.get() + 16);
    }
}

async fn run(port: u16, count: usize, size: usize, secs: f64) {
    let mut streams = Vec::new();
    for _ in 0..count {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        streams.push(stream);
    }
    let done = Rc::new(Cell::new(0u64));
    let (start, cpu) = (Instant::now(), cpu_us());
    let end = start + Duration::from_secs_f64(secs);
    let players: Vec<_> = streams
        .into_iter()
        .map(|stream| tokio::task::spawn_local(play(stream, size, end, done.clone())))
        .collect();
    for player in players {
        player.await.unwrap();
    }
    let (secs, cpu) = (start.elapsed().as_secs_f64(), cpu_us() - cpu);
    println!("{{\"ops\":{},\"secs\":{secs:.6},\"cpu_us\":{cpu:.1}}}", done.get());
}

fn main() {
    let words: Vec<String> = env::args().collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (port, count) = (words[1].parse().unwrap(), words[2].parse().unwrap());
    let (size, secs) = (words[3].parse().unwrap(), words[4].parse().unwrap());
    LocalSet::new().block_on(&runtime, run(port, count, size, secs));
}
