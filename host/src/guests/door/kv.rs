//! `kv`: one namespace for each plugin of each app.

use super::{Door, kv_store, unavailable};
use crate::{
    grants::{InApp, Reach},
    limits::{KV_KEY_BYTES_MAX, KV_KEYS_LISTED_MAX, KV_KEYS_MAX, KV_VALUE_BYTES_MAX},
    sandbox::door::DoorError,
    tenants::TenantTx,
};

async fn begin(door: &Door) -> Result<TenantTx, DoorError> {
    door.app.tenant_tx(&door.grants).await.map_err(unavailable("the key-value store"))
}

fn check(key: &str) -> Result<(), DoorError> {
    if key.is_empty() || key.len() > KV_KEY_BYTES_MAX || key.contains('\0') {
        return Err(DoorError::Invalid(format!("a key is 1 to {KV_KEY_BYTES_MAX} bytes of text")));
    }
    Ok(())
}

pub(super) async fn get(door: &Door, key: &str) -> Result<Option<Vec<u8>>, DoorError> {
    check(key)?;
    door.permit(&Reach::KvRead(key)).await?;
    let mut tx = begin(door).await?;
    let namespace = door.grants.plugin().to_string();
    kv_store::get(&mut tx, &namespace, key).await.map_err(unavailable("reading a key"))
}

pub(super) async fn set(door: &Door, key: &str, value: &[u8]) -> Result<(), DoorError> {
    check(key)?;
    if value.len() > KV_VALUE_BYTES_MAX {
        return Err(DoorError::Limit(format!("a value is {KV_VALUE_BYTES_MAX} bytes at the most")));
    }
    door.permit(&Reach::KvWrite(key)).await?;
    let failed = unavailable("writing a key");
    let mut tx = begin(door).await?;
    let namespace = door.grants.plugin().to_string();
    kv_store::lock(&mut tx, door.grants.app().app_id, &namespace).await.map_err(&failed)?;
    kv_store::set(&mut tx, door.grants.app().app_id, &namespace, key, value, door.app.now())
        .await
        .map_err(&failed)?;
    if kv_store::count(&mut tx, &namespace).await.map_err(&failed)? > KV_KEYS_MAX {
        return Err(DoorError::Limit(format!("a plugin has {KV_KEYS_MAX} keys at the most; delete some")));
    }
    tx.commit().await.map_err(&failed)
}

pub(super) async fn delete(door: &Door, key: &str) -> Result<(), DoorError> {
    check(key)?;
    door.permit(&Reach::KvWrite(key)).await?;
    let failed = unavailable("deleting a key");
    let mut tx = begin(door).await?;
    kv_store::delete(&mut tx, &door.grants.plugin().to_string(), key).await.map_err(&failed)?;
    tx.commit().await.map_err(&failed)
}

pub(super) async fn keys(door: &Door, prefix: &str) -> Result<Vec<String>, DoorError> {
    if prefix.len() > KV_KEY_BYTES_MAX || prefix.contains('\0') {
        return Err(DoorError::Invalid(format!("a prefix is {KV_KEY_BYTES_MAX} bytes of text at the most")));
    }
    door.permit(&Reach::KvRead(prefix)).await?;
    let mut tx = begin(door).await?;
    kv_store::keys(&mut tx, &door.grants.plugin().to_string(), prefix, KV_KEYS_LISTED_MAX)
        .await
        .map_err(unavailable("listing keys"))
}
