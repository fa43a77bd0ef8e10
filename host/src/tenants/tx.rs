//! Transactions: the only way to a connection.
//!
//! [`TenantTx`] sees one app's rows, by row-level security; it takes a proof of
//! acting inside that app. [`PersonTx`] sees what is one person's own, whatever
//! app it is in, and takes a proof that this person asks. [`ServiceTx`] is for what comes before a tenant is
//! known and for envelopes. All end with the value: commit, or roll back on
//! drop. [`ServiceRead`] and [`TenantStatement`] are for one statement, which is a transaction by itself.
//! None is held while a guest or a model runs.

use crate::{
    app::App,
    grants::{AsMyself, InApp},
    postgres::Statement,
};
use sqlx::{PgConnection, Postgres, Transaction};

/// A transaction that sees the rows of one app.
pub struct TenantTx(Transaction<'static, Postgres>);

/// A transaction that sees what is one person's own, and no app's rows.
pub struct PersonTx(Transaction<'static, Postgres>);

/// A transaction of the platform's own.
pub(crate) struct ServiceTx(Transaction<'static, Postgres>);

/// A connection for a single statement in one app, without the round trips of a beginning and an end: a function that
/// begins by saying which app, with `set_config('opg.app_id', …, true)`. Until then it sees no rows.
pub(crate) struct TenantStatement(Statement);

/// A connection of the platform's own for a single statement that reads: without the round trips of a beginning and
/// an end, on the way of every request.
pub(crate) struct ServiceRead(Statement);

impl App {
    /// Opens a transaction in the app of `proof`.
    ///
    /// # Errors
    /// The database's.
    pub async fn tenant_tx(&self, proof: &impl InApp) -> sqlx::Result<TenantTx> {
        // One round trip: ids are UUIDs, so their text is safe inside the statement.
        let mut begin = format!("begin; set local opg.app_id = '{}'", proof.app().app_id);
        if let Some(user_id) = proof.user_id() {
            begin += &format!("; set local opg.user_id = '{user_id}'");
        }
        self.pools.app.begin_with(sqlx::AssertSqlSafe(begin)).await.map(TenantTx)
    }

    /// Opens a transaction of the person of `proof`.
    ///
    /// # Errors
    /// The database's.
    pub async fn person_tx(&self, proof: &impl AsMyself) -> sqlx::Result<PersonTx> {
        let begin = format!("begin; set local opg.user_id = '{}'", proof.me());
        self.pools.app.begin_with(sqlx::AssertSqlSafe(begin)).await.map(PersonTx)
    }

    /// Opens a transaction of the platform's own.
    pub(crate) async fn service_tx(&self) -> sqlx::Result<ServiceTx> {
        #[expect(clippy::disallowed_methods, reason = "this is where service connections come from")]
        self.pools.service.begin().await.map(ServiceTx)
    }

    /// Takes a connection for one statement that says itself for which app.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn tenant_statement(&self) -> sqlx::Result<TenantStatement> {
        self.pools.app_statements.take().await.map(TenantStatement)
    }

    /// Takes a connection of the platform's own for one statement that reads.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn service_read(&self) -> sqlx::Result<ServiceRead> {
        self.pools.service_statements.take().await.map(ServiceRead)
    }
}

impl TenantTx {
    /// The connection, for a `store`.
    pub fn conn(&mut self) -> &mut PgConnection {
        &mut self.0
    }

    /// Makes it so.
    ///
    /// # Errors
    /// The database's; nothing was written then.
    pub async fn commit(self) -> sqlx::Result<()> {
        self.0.commit().await
    }
}

impl PersonTx {
    /// The connection, for a `store`.
    pub fn conn(&mut self) -> &mut PgConnection {
        &mut self.0
    }

    /// Makes it so.
    ///
    /// # Errors
    /// The database's; nothing was written then.
    pub async fn commit(self) -> sqlx::Result<()> {
        self.0.commit().await
    }
}

impl TenantStatement {
    /// The connection, for a `store`.
    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        self.0.conn()
    }

    /// The statement was read to its end; without this the connection is closed.
    pub(crate) fn done(self) {
        self.0.done();
    }
}

impl ServiceRead {
    /// The connection, for a `store`.
    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        self.0.conn()
    }

    /// The statement was read to its end; without this the connection is closed.
    pub(crate) fn done(self) {
        self.0.done();
    }
}

impl ServiceTx {
    /// The connection, for a `store`.
    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        &mut self.0
    }

    /// Makes it so.
    pub(crate) async fn commit(self) -> sqlx::Result<()> {
        self.0.commit().await
    }
}
