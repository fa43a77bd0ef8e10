//! Where the server is and how its connections are opened.

use super::{
    error::WireError,
    tls::{self, Trust},
};
use bytes::BytesMut;
use postgres_protocol::message::frontend;
use secrecy::SecretString;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use std::{path::PathBuf, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};

/// A server that has not answered by then is not there.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// A connection's two directions, whatever carries them.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Duplex for T {}

/// One login of one server.
#[derive(Clone)]
pub(in crate::db_proxy) struct Target {
    place: Place,
    pub(super) username: String,
    pub(super) password: SecretString,
    pub(super) database: String,
}

/// Where a server listens.
#[derive(Clone)]
pub(super) enum Place {
    Socket(PathBuf),
    Host { host: String, port: u16, tls: PgSslMode },
}

impl Target {
    /// The login `username` at the server of `options`.
    pub(in crate::db_proxy) fn new(
        options: &PgConnectOptions,
        username: &str,
        password: SecretString,
    ) -> Target {
        let place = match options.get_socket() {
            Some(dir) => Place::Socket(dir.join(format!(".s.PGSQL.{}", options.get_port()))),
            None => Place::Host {
                host: options.get_host().to_owned(),
                port: options.get_port(),
                tls: options.get_ssl_mode(),
            },
        };
        let database = options.get_database().unwrap_or_default().to_owned();
        Target { place, username: username.to_owned(), password, database }
    }

    /// Opens a stream to the server; nobody is signed in yet.
    pub(super) async fn open(&self) -> Result<(Box<dyn Duplex>, Place), WireError> {
        let stream = self.place.open().await?;
        Ok((stream, self.place.clone()))
    }
}

impl Place {
    /// Opens a stream, encrypted where the mode asks for it.
    pub(super) async fn open(&self) -> Result<Box<dyn Duplex>, WireError> {
        let opening = async {
            match self {
                Place::Socket(path) => Ok(Box::new(UnixStream::connect(path).await?) as Box<dyn Duplex>),
                Place::Host { host, port, tls } => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await?;
                    stream.set_nodelay(true)?;
                    encrypt(stream, host, *tls).await
                }
            }
        };
        tokio::time::timeout(CONNECT_TIME_MAX, opening)
            .await
            .unwrap_or_else(|_| Err(WireError::Io(std::io::ErrorKind::TimedOut.into())))
    }
}

async fn encrypt(mut stream: TcpStream, host: &str, mode: PgSslMode) -> Result<Box<dyn Duplex>, WireError> {
    let (required, trust) = match mode {
        PgSslMode::Disable | PgSslMode::Allow => return Ok(Box::new(stream)),
        PgSslMode::Prefer => (false, Trust::Anybody),
        PgSslMode::Require => (true, Trust::Anybody),
        PgSslMode::VerifyCa | PgSslMode::VerifyFull => (true, Trust::System),
    };
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    stream.write_all(&request).await?;
    match stream.read_u8().await? {
        b'S' => Ok(Box::new(tls::connect(stream, host, trust).await?)),
        _ if required => {
            Err(WireError::SignIn("the database server offers no TLS, which `sslmode` asks for"))
        }
        _ => Ok(Box::new(stream)),
    }
}
