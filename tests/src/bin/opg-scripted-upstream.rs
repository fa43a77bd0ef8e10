//! Runs the scripted upstream for client tests in other languages: prints its base URL and serves the default
//! script until standard input closes.

use opg_tests::upstream::ScriptedUpstream;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let upstream = ScriptedUpstream::start().await;
    println!("{}", upstream.base_url());
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
    Ok(())
}
