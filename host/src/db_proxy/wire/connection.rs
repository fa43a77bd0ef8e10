//! One connection: signing in, and the few exchanges the proxy has.

use super::{
    Oid,
    error::{ServerError, WireError},
    read::{self, Budget, Incoming, Row},
    target::{Duplex, Place, Target},
};
use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use futures_util::FutureExt;
use postgres_protocol::{
    IsNull,
    authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
    message::{
        backend::{Message, RowDescriptionBody},
        frontend,
    },
};
use secrecy::ExposeSecret;
use std::ops::ControlFlow;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

/// The name of the portal a query's rows come from.
const CURSOR: &str = "opg_rows";
/// For answers without rows of interest.
const NO_ROWS: Budget = Budget { kept_bytes_max: 256, bytes_left: 1 << 20 };

/// For what we ask ourselves: a description of the largest schema.
const OUR_ROWS: Budget = Budget { kept_bytes_max: 16 << 20, bytes_left: 16 << 20 };

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::db_proxy) struct Column {
    pub(in crate::db_proxy) name: String,
    pub(in crate::db_proxy) type_oid: Oid,
}

/// How a statement ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::db_proxy) struct Ended {
    /// The columns of its rows, if it has any.
    pub(in crate::db_proxy) columns: Vec<Column>,
    /// Rows it changed or returned, as its command tag says; none for what counts nothing.
    pub(in crate::db_proxy) affected: Option<u64>,
    /// Whether there were more rows than asked for.
    pub(in crate::db_proxy) more: bool,
}

/// Takes a row with its columns, or says that it is too much.
pub(in crate::db_proxy) type OnRow<'a> = dyn FnMut(&[Column], Row) -> ControlFlow<()> + Send + 'a;

/// What may come back of a statement.
#[derive(Clone, Copy, Debug)]
pub(in crate::db_proxy) struct Bounds {
    /// Rows at the most.
    pub(in crate::db_proxy) rows_max: u32,
    /// Bytes kept of one cell.
    pub(in crate::db_proxy) cell_bytes_max: usize,
    /// Bytes read of all cells, kept or not.
    pub(in crate::db_proxy) bytes_max: usize,
}

/// How to stop what a connection is doing, over another one.
#[derive(Clone)]
pub(in crate::db_proxy) struct Canceller {
    place: Place,
    process_id: i32,
    secret_key: i32,
}

impl Canceller {
    /// Asks the server to stop; whether anything was left to stop is not known.
    pub(in crate::db_proxy) async fn cancel(&self) -> Result<(), WireError> {
        let mut stream = self.place.open().await?;
        let mut request = BytesMut::new();
        frontend::cancel_request(self.process_id, self.secret_key, &mut request);
        stream.write_all(&request).await?;
        Ok(stream.shutdown().await?)
    }
}

/// A signed-in connection, outside of a transaction unless one was begun.
pub(in crate::db_proxy) struct Connection {
    io: BufReader<Box<dyn Duplex>>,
    out: BytesMut,
    canceller: Canceller,
}

impl Connection {
    /// Opens a connection and signs in.
    pub(in crate::db_proxy) async fn open(target: &Target) -> Result<Connection, WireError> {
        let (stream, place) = target.open().await?;
        let mut connection = Connection {
            io: BufReader::new(stream),
            out: BytesMut::new(),
            canceller: Canceller { place, process_id: 0, secret_key: 0 },
        };
        connection.sign_in(target).await?;
        Ok(connection)
    }

    /// How to stop what it does.
    pub(in crate::db_proxy) fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// Whether the server has hung up or said something nobody asked for, as far as can be seen without waiting.
    pub(in crate::db_proxy) fn is_stale(&mut self) -> bool {
        self.io.fill_buf().now_or_never().is_some()
    }

    async fn sign_in(&mut self, target: &Target) -> Result<(), WireError> {
        let parameters = [
            ("user", target.username.as_str()),
            ("database", &target.database),
            ("application_name", "opg-apps"),
            ("client_encoding", "UTF8"),
        ];
        frontend::startup_message(parameters, &mut self.out)?;
        self.flush().await?;
        loop {
            match self.receive(&mut NO_ROWS.clone()).await? {
                Message::AuthenticationOk => {}
                Message::AuthenticationSasl(body) => {
                    let mut mechanisms = body.mechanisms();
                    let mut known = false;
                    while let Some(mechanism) = mechanisms.next()? {
                        known |= mechanism == SCRAM_SHA_256;
                    }
                    if !known {
                        return Err(WireError::SignIn("the database server does not offer SCRAM-SHA-256"));
                    }
                    self.scram(target).await?;
                }
                Message::BackendKeyData(body) => {
                    self.canceller.process_id = body.process_id();
                    self.canceller.secret_key = body.secret_key();
                }
                Message::ReadyForQuery(_) => return Ok(()),
                Message::AuthenticationCleartextPassword | Message::AuthenticationMd5Password(_) => {
                    return Err(WireError::SignIn(
                        "the database server asks for a password in clear text or MD5; configure scram-sha-256",
                    ));
                }
                _ => return Err(WireError::Protocol("a message while signing in")),
            }
        }
    }

    async fn scram(&mut self, target: &Target) -> Result<(), WireError> {
        let password = target.password.expose_secret().as_bytes();
        let mut scram = ScramSha256::new(password, ChannelBinding::unsupported());
        frontend::sasl_initial_response(SCRAM_SHA_256, scram.message(), &mut self.out)?;
        self.flush().await?;
        let Message::AuthenticationSaslContinue(body) = self.receive(&mut NO_ROWS.clone()).await? else {
            return Err(WireError::Protocol("no SASL challenge"));
        };
        scram.update(body.data())?;
        frontend::sasl_response(scram.message(), &mut self.out)?;
        self.flush().await?;
        let Message::AuthenticationSaslFinal(body) = self.receive(&mut NO_ROWS.clone()).await? else {
            return Err(WireError::Protocol("no end of SASL"));
        };
        Ok(scram.finish(body.data())?)
    }

    /// Runs statements of our own, never a user's; rows are dropped.
    pub(in crate::db_proxy) async fn simple(&mut self, sql: &str) -> Result<(), WireError> {
        frontend::query(sql, &mut self.out)?;
        self.flush().await?;
        self.until_ready(&mut NO_ROWS.clone(), &mut Ended::default(), &mut |_, _| ControlFlow::Continue(()))
            .await
    }

    /// Runs one statement of our own and returns its rows.
    pub(in crate::db_proxy) async fn ask(&mut self, sql: &str) -> Result<Vec<Row>, WireError> {
        frontend::query(sql, &mut self.out)?;
        self.flush().await?;
        let mut rows = vec![];
        let mut keep = |_: &[Column], row| {
            rows.push(row);
            ControlFlow::Continue(())
        };
        self.until_ready(&mut OUR_ROWS.clone(), &mut Ended::default(), &mut keep).await?;
        Ok(rows)
    }

    /// Begins a transaction with our own `begin` and prepares the user's `sql`, in one round trip. Returns the
    /// types of its parameters.
    pub(in crate::db_proxy) async fn begin_and_prepare(
        &mut self,
        begin: &str,
        sql: &str,
    ) -> Result<Vec<Oid>, WireError> {
        frontend::query(begin, &mut self.out)?;
        self.queue_prepare(sql)?;
        self.flush().await?;
        let begun = self
            .until_ready(&mut NO_ROWS.clone(), &mut Ended::default(), &mut |_, _| ControlFlow::Continue(()))
            .await;
        let prepared = self.prepared().await;
        begun.and(prepared)
    }

    /// Prepares the user's `sql`. Returns the types of its parameters.
    pub(in crate::db_proxy) async fn prepare(&mut self, sql: &str) -> Result<Vec<Oid>, WireError> {
        self.queue_prepare(sql)?;
        self.flush().await?;
        self.prepared().await
    }

    fn queue_prepare(&mut self, sql: &str) -> Result<(), WireError> {
        frontend::parse("", sql, [], &mut self.out)?;
        frontend::describe(b'S', "", &mut self.out)?;
        frontend::sync(&mut self.out);
        Ok(())
    }

    async fn prepared(&mut self) -> Result<Vec<Oid>, WireError> {
        let (mut types, mut failed) = (vec![], None);
        loop {
            match self.message(&mut NO_ROWS.clone()).await? {
                Message::ParameterDescription(body) => types = body.parameters().collect()?,
                Message::ErrorResponse(body) => failed = Some(ServerError::read(body.fields())),
                Message::ReadyForQuery(_) => return failed.map_or(Ok(types), |e| Err(WireError::Server(e))),
                Message::ParseComplete | Message::RowDescription(_) | Message::NoData => {}
                _ => return Err(WireError::Protocol("a message while preparing")),
            }
        }
    }

    /// Runs the prepared statement with these parameters, as text, and hands out its rows.
    pub(in crate::db_proxy) async fn run(
        &mut self,
        parameters: &[Option<Vec<u8>>],
        bounds: Bounds,
        on_row: &mut OnRow<'_>,
    ) -> Result<Ended, WireError> {
        self.queue_bind(parameters)?;
        frontend::describe(b'P', "", &mut self.out)?;
        frontend::execute("", 0, &mut self.out)?;
        frontend::sync(&mut self.out);
        self.rows(bounds, on_row).await
    }

    /// Runs the prepared `declare` of [`Connection::cursor`] with these parameters and hands out the cursor's rows.
    pub(in crate::db_proxy) async fn run_cursor(
        &mut self,
        parameters: &[Option<Vec<u8>>],
        bounds: Bounds,
        on_row: &mut OnRow<'_>,
    ) -> Result<Ended, WireError> {
        self.queue_bind(parameters)?;
        frontend::execute("", 0, &mut self.out)?;
        frontend::describe(b'P', CURSOR, &mut self.out)?;
        // One more than is handed out, to know whether there are more.
        let fetched = i32::try_from(bounds.rows_max).unwrap_or(i32::MAX).saturating_add(1);
        frontend::execute(CURSOR, fetched, &mut self.out)?;
        frontend::sync(&mut self.out);
        self.rows(bounds, on_row).await
    }

    /// The statement that opens a cursor over `sql`, for [`Connection::run_cursor`]. The server itself refuses what
    /// is no query: data-modifying statements, utility statements, `select into`.
    pub(in crate::db_proxy) fn cursor(sql: &str) -> (String, usize) {
        let declare = format!("declare {CURSOR} no scroll cursor without hold for\n");
        (format!("{declare}{sql}\n"), declare.chars().count())
    }

    fn queue_bind(&mut self, parameters: &[Option<Vec<u8>>]) -> Result<(), WireError> {
        let write = |value: &Option<Vec<u8>>, out: &mut BytesMut| {
            Ok(match value {
                Some(text) => {
                    out.extend_from_slice(text);
                    IsNull::No
                }
                None => IsNull::Yes,
            })
        };
        // No format codes: all is text, both ways.
        frontend::bind("", "", [], parameters, write, [], &mut self.out)
            .map_err(|_| WireError::Protocol("parameters too long for a message"))
    }

    async fn rows(&mut self, bounds: Bounds, on_row: &mut OnRow<'_>) -> Result<Ended, WireError> {
        self.flush().await?;
        let mut budget = Budget { kept_bytes_max: bounds.cell_bytes_max, bytes_left: bounds.bytes_max };
        let mut ended = Ended::default();
        let (mut rows, mut more) = (0, false);
        let mut bounded = |columns: &[Column], row| {
            if rows == bounds.rows_max {
                more = true;
                return ControlFlow::Continue(());
            }
            rows += 1;
            on_row(columns, row)
        };
        self.until_ready(&mut budget, &mut ended, &mut bounded).await?;
        ended.more = more;
        Ok(ended)
    }

    /// Reads to the end of an exchange. The first error of the server is the result.
    async fn until_ready(
        &mut self,
        budget: &mut Budget,
        ended: &mut Ended,
        on_row: &mut OnRow<'_>,
    ) -> Result<(), WireError> {
        let mut failed = None;
        loop {
            let message = match self.incoming(budget).await? {
                Incoming::Row(row) => {
                    if on_row(&ended.columns, row).is_break() {
                        return Err(WireError::TooLarge);
                    }
                    continue;
                }
                Incoming::Other(message) => message,
            };
            match message {
                Message::RowDescription(body) => ended.columns = columns(&body)?,
                Message::CommandComplete(body) => ended.affected = affected(body.tag()?),
                Message::ErrorResponse(body) => {
                    failed.get_or_insert_with(|| ServerError::read(body.fields()));
                }
                Message::ReadyForQuery(_) => return failed.map_or(Ok(()), |e| Err(WireError::Server(e))),
                Message::BindComplete
                | Message::CloseComplete
                | Message::EmptyQueryResponse
                | Message::NoData
                | Message::ParseComplete
                | Message::PortalSuspended => {}
                // COPY, which nothing we run starts.
                _ => return Err(WireError::Protocol("a message while running")),
            }
        }
    }

    /// A message that is not an error; an error is one.
    async fn receive(&mut self, budget: &mut Budget) -> Result<Message, WireError> {
        match self.message(budget).await? {
            Message::ErrorResponse(body) => Err(WireError::Server(ServerError::read(body.fields()))),
            message => Ok(message),
        }
    }

    async fn message(&mut self, budget: &mut Budget) -> Result<Message, WireError> {
        match self.incoming(budget).await? {
            Incoming::Other(message) => Ok(message),
            Incoming::Row(_) => Err(WireError::Protocol("a row nobody asked for")),
        }
    }

    /// The next message that is an answer: what the server says on its own account is passed over.
    async fn incoming(&mut self, budget: &mut Budget) -> Result<Incoming, WireError> {
        loop {
            match read::next(&mut self.io, budget).await? {
                Incoming::Other(
                    Message::NoticeResponse(_)
                    | Message::ParameterStatus(_)
                    | Message::NotificationResponse(_),
                ) => {}
                other => return Ok(other),
            }
        }
    }

    async fn flush(&mut self) -> Result<(), WireError> {
        self.io.get_mut().write_all(&self.out).await?;
        self.out.clear();
        Ok(self.io.get_mut().flush().await?)
    }
}

fn columns(body: &RowDescriptionBody) -> Result<Vec<Column>, WireError> {
    Ok(body
        .fields()
        .map(|field| Ok(Column { name: field.name().to_owned(), type_oid: field.type_oid() }))
        .collect()?)
}

/// `INSERT 0 3` → 3, `SELECT 20` → 20, `CREATE TABLE` → none.
fn affected(tag: &str) -> Option<u64> {
    tag.rsplit(' ').next().and_then(|count| count.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_tag_counts_rows_where_it_counts_any() {
        for (tag, rows) in [
            ("INSERT 0 3", Some(3)),
            ("UPDATE 12", Some(12)),
            ("SELECT 0", Some(0)),
            ("CREATE TABLE", None),
            ("DECLARE CURSOR", None),
            ("", None),
        ] {
            assert_eq!(affected(tag), rows, "{tag}");
        }
    }

    #[test]
    fn what_a_position_is_counted_from_is_the_length_of_our_own_text() {
        let (sql, ours) = Connection::cursor("select 1 -- one");
        assert_eq!(&sql[ours..], "select 1 -- one\n");
    }
}
