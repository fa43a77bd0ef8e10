//! Letters to people: plain text, by the one SMTP server that the operator names.
//!
//! Nobody waits for a letter but an operator, who may know: whoever else asks for one sends it from a task of its own,
//! so that no answer tells whether one was sent. It is tried once. What goes wrong is told in the log, by what the
//! server answered or by why it could not be reached; never with an address, and never with what was written.
//!
//! The server is the operator's own word, as the database is: the guard of `egress` is not asked.
//!
//! Deliberately absent: HTML, attachments, links that hold a secret or lead anywhere but to the operator's `BASE_URL`
//! (whoever asks says which host it was, so that one could be theirs), trying again, a queue.

mod config;

pub use config::{Encryption, MailConfig};
pub(crate) use config::{is_sender, parse_url};

use crate::limits::{LETTER_TIME_MAX, LETTERS_AT_ONCE, LETTERS_WAITING_MAX};
use chrono::{DateTime, Utc};
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{
        Mailbox,
        header::{ContentType, MIME_VERSION_1_0},
    },
    transport::smtp::{
        self,
        authentication::Credentials,
        client::{Tls, TlsParameters},
        extension::ClientId,
    },
};
use secrecy::ExposeSecret;
use std::time::SystemTime;
use tokio::sync::Semaphore;
use uuid::Uuid;

/// The way to the mail server.
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    waiting: Semaphore,
    places: Semaphore,
}

/// A letter.
pub struct Letter {
    /// Whose it is.
    pub to: String,
    /// What it is about, in ASCII.
    pub subject: &'static str,
    /// What it says, in lines of 76 characters at the most.
    pub text: String,
    /// When it was written.
    pub written_at: DateTime<Utc>,
    /// Tells it from every other.
    pub id: Uuid,
}

/// Why there is no way to the mail server.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The sender.
    #[error("SMTP_FROM is no sender that a letter can have")]
    Sender,
    /// Encryption.
    #[error("SMTP_URL: encryption cannot be set up: {0}")]
    Tls(String),
}

/// Why a letter was not sent, in words that hold nobody's address.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Too many are on their way.
    #[error("too many letters wait for the mail server")]
    Busy,
    /// It is not an address by the rules of mail.
    #[error("no letter can go to such an address")]
    Address,
    /// The server took too long.
    #[error("the mail server took longer than {} s", LETTER_TIME_MAX.as_secs())]
    TooLong,
    /// The server said no. What it says besides its code may hold the address.
    #[error("the mail server answered {0}")]
    Refused(String),
    /// It cannot be reached, or not as configured.
    #[error("the mail server cannot be used: {0}")]
    Unusable(String),
}

impl Mailer {
    /// A way to this server. It is not asked anything before there is a letter.
    ///
    /// # Errors
    /// [`OpenError`]
    pub fn open(config: &MailConfig) -> Result<Mailer, OpenError> {
        let from: Mailbox = config.from.parse().map_err(|_| OpenError::Sender)?;
        let tls =
            || TlsParameters::new(config.host.clone()).map_err(|cause| OpenError::Tls(cause.to_string()));
        let tls = match config.encryption {
            Encryption::Tls => Tls::Wrapper(tls()?),
            Encryption::StartTls => Tls::Required(tls()?),
            Encryption::None => Tls::None,
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&config.host)
            .port(config.port)
            .tls(tls)
            .hello_name(ClientId::Domain(from.email.domain().to_owned()))
            .timeout(Some(LETTER_TIME_MAX));
        if let Some((user, password)) = &config.login {
            let password = password.expose_secret().to_owned();
            transport = transport.credentials(Credentials::new(user.clone(), password));
        }
        Ok(Mailer {
            transport: transport.build(),
            from,
            waiting: Semaphore::new(LETTERS_WAITING_MAX),
            places: Semaphore::new(LETTERS_AT_ONCE),
        })
    }

    /// Sends a letter, and waits until the server has taken it.
    ///
    /// # Errors
    /// [`SendError`]
    pub async fn send(&self, letter: Letter) -> Result<(), SendError> {
        let message = self.message(letter)?;
        let _waiting = self.waiting.try_acquire().map_err(|_| SendError::Busy)?;
        let _place = self.places.acquire().await.map_err(|_| SendError::Busy)?;
        match tokio::time::timeout(LETTER_TIME_MAX, self.transport.send(message)).await {
            Ok(sent) => sent.map(drop).map_err(|error| without_addresses(&error)),
            Err(_) => Err(SendError::TooLong),
        }
    }

    fn message(&self, letter: Letter) -> Result<Message, SendError> {
        let to = letter.to.parse().map_err(|_| SendError::Address)?;
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(letter.subject)
            .date(SystemTime::from(letter.written_at))
            .message_id(Some(format!("<{}@{}>", letter.id, self.from.email.domain())))
            .header(MIME_VERSION_1_0)
            .header(ContentType::TEXT_PLAIN)
            .body(letter.text)
            .map_err(|_| SendError::Address)
    }
}

fn without_addresses(error: &smtp::Error) -> SendError {
    match error.status() {
        Some(code) => SendError::Refused(code.to_string()),
        None if error.is_response() => SendError::Unusable("it speaks something else than SMTP".to_owned()),
        None => SendError::Unusable(error.to_string()),
    }
}
