//! Looks customers up and adds them. Shows `db`, the app's own database: the
//! table is named without the app it is in, and values travel as parameters,
//! never inside the text.

use opg_guest::*;

/// Rows of one answer: what a model reads with profit.
const FOUND_MAX: u32 = 20;

/// Finds customers by a part of their name or email address, newest first.
#[tool(db("read:customers", "to look customers up"))]
fn find_customers(
    /// A part of the name or the address, in any case.
    text: String,
) -> Result<Found, Error> {
    let sql = format!(
        "select id, email, name from {} where strpos(lower(concat_ws(' ', name, email)), lower($1)) > 0 \
         order by created_at desc, id",
        db::table("customers")
    );
    let found = db::rows(&sql, (text.trim(),), Some(FOUND_MAX))?;
    Ok(Found { customers: found.rows, more: found.truncated })
}

/// Adds a customer. Use `find_customers` first: an address is there only once.
#[tool(db("write:customers", "to add customers"))]
fn add_customer(
    /// The customer's whole name.
    name: String,
    /// The customer's email address.
    email: String,
) -> Result<Customer, Error> {
    let (name, email) = (name.trim(), address(&email)?);
    let sql = format!(
        "insert into {} (name, email) values ($1, $2) on conflict (email) do nothing returning id, email, name",
        db::table("customers")
    );
    let added = db::returning::<Customer>(&sql, (name, &email))?;
    let taken = || Error::invalid_input(format_args!("there is a customer with the address {email} already"));
    added.rows.into_iter().next().ok_or_else(taken)
}

plugin!(find_customers, add_customer);

/// One customer.
#[data]
struct Customer {
    id: String,
    email: String,
    name: String,
}

/// What was found.
#[data]
struct Found {
    customers: Vec<Customer>,
    /// Whether there are more than these.
    more: bool,
}

/// An email address in lower case, as far as one can tell without sending to it.
fn address(text: &str) -> Result<String, Error> {
    let text = text.trim().to_lowercase();
    match text.split_once('@') {
        Some((who, host)) if !who.is_empty() && host.contains('.') && !text.contains(char::is_whitespace) => {
            Ok(text)
        }
        _ => Err(Error::invalid_input(format_args!("`{text}` is no email address, such as ann@example.com"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_two_halves_and_no_blanks() {
        assert_eq!(address(" Ann@Example.com "), Ok("ann@example.com".into()));
        for bad in ["", "ann", "@example.com", "ann@example", "ann b@example.com"] {
            assert_eq!(address(bad).unwrap_err().kind(), "invalid-input", "{bad}");
        }
    }
}
