//! Converts money. Shows `http` with a secret the guest never sees: it names
//! the key, the host puts it into the request.

use std::collections::BTreeMap;

use opg_guest::*;

const LATEST_URL: &str = "https://api.exchangerate.host/latest";

/// Converts an amount of money between two currencies at the latest rate.
#[tool(
    http("api.exchangerate.host", "to look up the latest rate"),
    secret("EXCHANGE_RATE_KEY@api.exchangerate.host", "to sign in to the rates API")
)]
fn convert(input: Conversion) -> Result<Converted, Error> {
    let from = currency(&input.from)?;
    let to = currency(&input.to)?;
    let latest: Latest = http::get(LATEST_URL)
        .query("base", &from)
        .query("symbols", &to)
        .secret_header("apikey", "", "EXCHANGE_RATE_KEY")?
        .send()?
        .success()?
        .json()?;
    let rate =
        latest.rates.get(&to).ok_or_else(|| Error::failed(format_args!("there is no rate for {to}")))?;
    Ok(Converted { amount: input.amount * rate, rate: *rate, currency: to })
}

plugin!(convert);

/// What to convert.
#[input]
struct Conversion {
    /// How much.
    amount: f64,
    /// The currency it is in: three letters, such as `EUR`.
    from: String,
    /// The currency it should be in.
    to: String,
}

/// The amount in the other currency.
#[data]
struct Converted {
    amount: f64,
    currency: String,
    rate: f64,
}

/// The part of the API's answer that matters here.
#[data]
struct Latest {
    rates: BTreeMap<String, f64>,
}

/// A currency code in capitals.
fn currency(code: &str) -> Result<String, Error> {
    let code = code.trim().to_ascii_uppercase();
    if code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Ok(code);
    }
    Err(Error::invalid_input(format_args!("`{code}` is not a currency: give three letters, such as `EUR`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_currency_is_three_letters_in_any_case() {
        assert_eq!(currency(" eur "), Ok("EUR".into()));
        for bad in ["", "EU", "euros", "€uro", "12A"] {
            assert_eq!(currency(bad).unwrap_err().kind(), "invalid-input", "{bad}");
        }
    }
}
