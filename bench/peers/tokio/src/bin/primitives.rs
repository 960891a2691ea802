//! primitives: what tasks cost on one thread, in CPU time. Prints a line of JSON for each: its name, nanoseconds.
use std::future::{poll_fn, Future};
use std::task::Poll;
use std::time::Duration;

const BATCH: u64 = 1000;

extern "C" {
    fn clock() -> std::ffi::c_long; // POSIX: in microseconds
}

fn cpu_us() -> f64 {
    unsafe { clock() as f64 }
}

fn print(name: &str, count: u64, start: f64) {
    let each = (cpu_us() - start) * 1e3 / count as f64;
    println!("{{\"name\":\"{name}\",\"ns\":{each:.1}}}");
}

async fn spawn_finish(count: u64) {
    for _ in 0..count / BATCH {
        let batch: Vec<_> = (0..BATCH).map(|_| tokio::spawn(async {})).collect();
        for task in batch {
            task.await.unwrap();
        }
    }
}

async fn spawn_join(count: u64) {
    for _ in 0..count {
        tokio::spawn(async {}).await.unwrap();
    }
}

async fn switch(count: u64) {
    let half = move || async move {
        for _ in 0..count / 2 {
            tokio::task::yield_now().await;
        }
    };
    let (a, b) = (tokio::spawn(half()), tokio::spawn(half()));
    a.await.unwrap();
    b.await.unwrap();
}

async fn timeout(count: u64) {
    for _ in 0..count {
        tokio::time::timeout(Duration::from_secs(60), async {}).await.unwrap();
    }
}

/// Deadlines for all of them are set, and then cancelled.
async fn timers(count: u64) {
    let mut all = Vec::with_capacity(count as usize);
    for i in 0..count {
        let mut sleep = Box::pin(tokio::time::sleep(Duration::from_millis(60_000 + i % 977)));
        poll_fn(|context| {
            assert!(sleep.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
        all.push(sleep);
    }
}

async fn channel(count: u64, capacity: usize) {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(capacity);
    let task = tokio::spawn(async move {
        for i in 0..count {
            sender.send(i).await.unwrap();
        }
    });
    while receiver.recv().await.is_some() {}
    task.await.unwrap();
}

async fn run() {
    let start = cpu_us();
    spawn_finish(200_000).await;
    print("spawn_finish", 200_000, start);
    let start = cpu_us();
    spawn_join(200_000).await;
    print("spawn_join", 200_000, start);
    let start = cpu_us();
    switch(400_000).await;
    print("switch", 400_000, start);
    let start = cpu_us();
    timeout(200_000).await;
    print("timeout", 200_000, start);
    let start = cpu_us();
    timers(100_000).await;
    print("timers", 100_000, start);
    let start = cpu_us();
    channel(400_000, 64).await;
    print("channel", 400_000, start);
    let start = cpu_us();
    channel(200_000, 1).await;
    print("channel_1", 200_000, start);
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run());
}
