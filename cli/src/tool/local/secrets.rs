//! Secrets an author names: from the command line, the environment or a file.

use super::Wrong;
use crate::tool::text;
use opg_host::secrets::is_name;
use secrecy::SecretString;
use std::{collections::BTreeMap, env, fs, path::Path};

/// Names and values. A value is shown nowhere.
#[derive(Clone, Debug, Default)]
pub(in crate::tool) struct Secrets(BTreeMap<String, SecretString>);

impl Secrets {
    /// `NAME=value`, or `NAME` for the environment's variable of that name; then what a file says.
    ///
    /// # Errors
    /// What is wrong, without any value.
    pub(in crate::tool) fn read(given: &[String], file: Option<&Path>) -> Result<Secrets, Wrong> {
        let mut secrets = Secrets::default();
        if let Some(file) = file {
            let text = fs::read_to_string(file)
                .map_err(|cause| Wrong(format!("{} cannot be read: {cause}", file.display())))?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            for line in lines {
                let (name, value) = line.split_once('=').ok_or_else(|| {
                    Wrong(format!("{}: each line is NAME=value, or begins with #", file.display()))
                })?;
                secrets.keep(name.trim(), value.trim())?;
            }
        }
        for given in given {
            match given.split_once('=') {
                Some((name, value)) => secrets.keep(name, value)?,
                None => {
                    let value = env::var(given).map_err(|_| {
                        Wrong(format!("--secret {}: the environment has no such variable", text::line(given)))
                    })?;
                    secrets.keep(given, &value)?;
                }
            }
        }
        Ok(secrets)
    }

    fn keep(&mut self, name: &str, value: &str) -> Result<(), Wrong> {
        if !is_name(name) {
            return Err(Wrong("the name of a secret is capitals, digits and `_`, a capital first".into()));
        }
        self.0.insert(name.to_owned(), SecretString::from(value));
        Ok(())
    }

    pub(super) fn find(&self, name: &str) -> Option<&SecretString> {
        self.0.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn a_secret_comes_from_the_command_line_or_a_file_and_the_command_line_wins() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secrets.env");
        fs::write(&file, "# mine\nKEY = a=b\n\nOTHER=c\n").unwrap();
        let secrets = Secrets::read(&["OTHER=d".into()], Some(&file)).unwrap();
        let value = |name| secrets.find(name).map(|value| value.expose_secret().to_owned());
        assert_eq!(
            (value("KEY"), value("OTHER"), value("NONE")),
            (Some("a=b".into()), Some("d".into()), None)
        );
    }

    #[test]
    fn what_is_wrong_is_said_without_a_value() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secrets.env");
        fs::write(&file, "hunter2\n").unwrap();
        for wrong in [Secrets::read(&["bad=hunter2".into()], None), Secrets::read(&[], Some(&file))] {
            let Err(wrong) = wrong else { panic!("accepted") };
            assert!(!wrong.0.contains("hunter2"), "{wrong}");
        }
    }
}
