//! server PORT echo|sink current|multi: a task for each connection, which has a buffer of 64 KiB.
use std::env;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

async fn serve(mut stream: TcpStream, sink: bool) -> std::io::Result<()> {
    let mut buffer = vec![0u8; 65536];
    stream.set_nodelay(true)?;
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        if !sink {
            stream.write_all(&buffer[..length]).await?;
        }
    }
}

async fn listen(port: u16, sink: bool) -> std::io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, sink));
        }
    }
}

fn main() {
    let words: Vec<String> = env::args().collect();
    let mut builder = match words[3].as_str() {
        "multi" => Builder::new_multi_thread(),
        _ => Builder::new_current_thread(),
    };
    let runtime = builder.enable_all().build().unwrap();
    let port = words[1].parse().unwrap();
    runtime.block_on(listen(port, words[2] == "sink")).unwrap();
}
