//! Keeps notes. Shows several tools in one plugin and `kv`, the small store
//! each plugin has for itself in each app.

use opg_guest::*;

const PREFIX: &str = "note:";

/// Writes a note under a title, replacing an older one with the same title.
#[tool(kv("write", "to keep the notes"))]
fn add_note(
    /// The title to find it by.
    title: String,
    /// The text to keep.
    text: String,
) -> Result<Note, Error> {
    let key = key(&title)?;
    let note = Note { title, text };
    kv::set(&key, &note)?;
    log::info(format_args!("kept `{}`", note.title));
    Ok(note)
}

/// Lists all notes, by title.
#[tool(kv("read", "to read the notes"))]
fn list_notes() -> Result<Vec<Note>, Error> {
    let mut notes = Vec::new();
    for key in kv::keys(PREFIX)? {
        // Another call may have deleted it since.
        notes.extend(kv::get::<Note>(&key)?);
    }
    Ok(notes)
}

/// Deletes the note with this title; says whether there was one.
#[tool(kv("read", "to see whether there is such a note"), kv("write", "to delete it"))]
fn delete_note(
    /// The title it was kept under.
    title: String,
) -> Result<bool, Error> {
    let key = key(&title)?;
    let found = kv::get::<Note>(&key)?.is_some();
    kv::delete(&key)?;
    Ok(found)
}

plugin!(add_note, list_notes, delete_note);

/// One note.
#[data]
struct Note {
    title: String,
    text: String,
}

fn key(title: &str) -> Result<String, Error> {
    let title = title.trim();
    if title.is_empty() {
        return Err(Error::invalid_input("the title is empty"));
    }
    Ok(format!("{PREFIX}{title}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_needs_a_title() {
        assert_eq!(key(" shopping "), Ok("note:shopping".into()));
        assert_eq!(key(" ").unwrap_err().kind(), "invalid-input");
    }
}
