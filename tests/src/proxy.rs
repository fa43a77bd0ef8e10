//! A proxy as people have them: it speaks HTTP/1.1, tunnels with `CONNECT`, forwards what names a whole URL, and keeps
//! the head of every request. It ends with the [`Proxy`].

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// The longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// The running proxy.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
    server: JoinHandle<()>,
}

impl Proxy {
    /// Starts on a free port of 127.0.0.1.
    pub async fn start() -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("127.0.0.1 has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let heads = Arc::new(Mutex::new(vec![]));
        let seen = heads.clone();
        let server = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let seen = seen.clone();
                // Whoever hangs up, on either side, is no event.
                tokio::spawn(async move { drop(serve(client, &seen).await) });
            }
        });
        Proxy { port, heads, server }
    }

    /// `http://127.0.0.1:<port>`, with what is said before the `@`.
    pub fn url(&self, credentials: &str) -> String {
        format!("http://{credentials}127.0.0.1:{}", self.port)
    }

    /// The head of each request so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(mut client: TcpStream, seen: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut read = vec![];
    let end = loop {
        if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if read.len() > HEAD_BYTES_MAX || client.read_buf(&mut read).await? == 0 {
            return Ok(());
        }
    };
    let head = String::from_utf8_lossy(&read[..end]).into_owned();
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(head.clone());
    let (line, fields) = head.split_once("\r\n").unwrap_or_default();
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if method == "CONNECT" {
        let mut server = TcpStream::connect(target).await?;
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
        server.write_all(&read[end..]).await?;
        copy_bidirectional(&mut client, &mut server).await?;
        return Ok(());
    }
    let (host, path) = target.trim_start_matches("http://").split_once('/').unwrap_or_default();
    let mut server = TcpStream::connect(host).await?;
    // One request for each connection, so that each has a head here; what is for the proxy goes no further.
    let own = ["proxy-authorization:", "connection:", "proxy-connection:"];
    let fields = fields.split("\r\n").filter(|field| {
        let field = field.to_ascii_lowercase();
        !field.is_empty() && !own.iter().any(|name| field.starts_with(name))
    });
    let fields: String = fields.map(|field| format!("{field}\r\n")).collect();
    server
        .write_all(format!("{method} /{path} HTTP/1.1\r\n{fields}connection: close\r\n\r\n").as_bytes())
        .await?;
    server.write_all(&read[end..]).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
