//! `opg tool publish`: builds the project and uploads what comes out, or uploads a file that was built elsewhere.

use super::{Server, ServerArgs, status_in_words, wishes, word};
use crate::tool::{At, Output, Wrong, build, project::Project, text};
use base64::{Engine, engine::general_purpose::STANDARD};
use opg_host::registry::signature;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A file that is there already: a component or an Extism plugin (`.wasm`), or a plugin's manifest (`.json`).
    file: Option<PathBuf>,
    #[command(flatten)]
    at: At,
    /// Publish it under another name than the project's or the file's.
    #[arg(long)]
    name: Option<String>,
    /// Its signature, as `minisign -S -m FILE` writes it: a `.minisig` file. Of exactly what is uploaded, so best with FILE.
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    output: Output,
}

pub(in crate::tool) async fn run(args: &Args) -> anyhow::Result<()> {
    let server = args.server.connect()?;
    let (name, artifact) = match &args.file {
        Some(file) => build::built(file)?,
        None => {
            let project = Project::find(&args.at.dir)?;
            let artifact = build::build(&project)?;
            (project.name, artifact)
        }
    };
    let name = super::checked_name(args.name.as_deref().unwrap_or(&name))?;
    let signature = args.signature.as_deref().map(signature_in).transpose()?;
    upload(&server, &name, (artifact, signature.as_deref()), args.output).await
}

/// A signature as it is sent.
fn signature_in(file: &Path) -> Result<String, Wrong> {
    let read = fs::read(file).map_err(|cause| Wrong(format!("--signature {}: {cause}", file.display())))?;
    if read.len() > signature::SIGNATURE_BYTES_MAX {
        return Err(Wrong(format!("--signature {}: that is no .minisig file", file.display())));
    }
    Ok(STANDARD.encode(read))
}

/// Uploads what was built, with its signature, and says what became of it.
pub(in crate::tool) async fn upload(
    server: &Server,
    name: &str,
    (artifact, signature): (build::Artifact, Option<&str>),
    output: Output,
) -> anyhow::Result<()> {
    let path = format!("/v1/tenant/tools/{name}");
    let mut headers = vec![("content-type", artifact.kind.media_type())];
    headers.extend(signature.map(|signature| (signature::HEADER, signature)));
    let answer = server.put(&path, &headers, artifact.bytes).await?;
    let published = &answer.body;
    if output.json {
        println!("{published}");
        return Ok(());
    }
    if output.quiet {
        println!("{}", word(&published["version"]));
        return Ok(());
    }
    let size = text::size(published["size_bytes"].as_u64().unwrap_or_default());
    println!(
        "published {name}, version {}, {size}, in {} ms",
        word(&published["version"]),
        answer.took.as_millis()
    );
    let status = published["status"].as_str().unwrap_or_default();
    println!("it is {}", status_in_words(status));
    if let Some(key) = published["signed_by"].as_str() {
        println!("it is signed by {}", text::line(key));
    }
    let asks = wishes(&published["requested_capabilities"], |_| "");
    if !asks.is_empty() {
        println!("it asks to\n{}", asks.trim_end());
    }
    println!("\nnext: {}", next(name, status, &published["exports"]));
    Ok(())
}

fn next(name: &str, status: &str, exports: &Value) -> String {
    if status == "pending_review" {
        return format!("opg tool review {name}");
    }
    let tool = &exports[0];
    let called = tool["name"].as_str().map_or_else(|| name.to_owned(), text::line);
    format!("opg tool invoke {called} --input '{}'", text::example_input(&tool["input_schema"]))
}
