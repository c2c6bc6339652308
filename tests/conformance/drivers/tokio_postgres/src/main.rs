// tokio-postgres, from Debian's crates. Debian has no TLS connector for it, so that it connects in clear, on loopback.
use bytes::Bytes;
use futures_util::future::try_join_all;
use futures_util::{pin_mut, SinkExt, TryStreamExt};
use std::env::var;
use std::time::Duration;
use tokio_postgres::{Client, Error, NoTls};

type Step = Result<(), String>;

fn text(error: Error) -> String {
    match error.as_db_error() {
        Some(server) => format!("{}: {}", server.code().code(), server.message()),
        None => error.to_string(),
    }
}

fn masked(value: &str) -> Step {
    if value.starts_with("***@") { Ok(()) } else { Err(format!("not masked: {value}")) }
}

fn fails<T>(state: &str, result: Result<T, Error>) -> Step {
    match result {
        Err(error) if error.code().map(|code| code.code()) == Some(state) => Ok(()),
        Err(error) => Err(format!("expected {state}: {}", text(error))),
        Ok(_) => Err(format!("expected {state}")),
    }
}

async fn goes_on(client: &Client) -> Step {
    client.query_one("select 1", &[]).await.map(|_| ()).map_err(text)
}

async fn prepared(client: &Client) -> Step {
    let by_id = client.prepare("select email from app.customers where id = $1").await.map_err(text)?;
    for id in 1i64..=10 {
        masked(client.query_one(&by_id, &[&id]).await.map_err(text)?.get(0))?;
    }
    Ok(())
}

// Futures that are polled together go out as one pipeline.
async fn batch(client: &Client) -> Step {
    let insert = client.prepare("insert into app.support_tickets (customer_id, subject) values ($1, 'batch')").await.map_err(text)?;
    let counts = try_join_all((0..20).map(|_| client.execute(&insert, &[&1i64]))).await.map_err(text)?;
    if counts.iter().sum::<u64>() != 20 {
        return Err(format!("{counts:?}"));
    }
    let read = client.prepare("select email from app.customers where id = 7").await.map_err(text)?;
    let rows = try_join_all((0..5).map(|_| client.query_one(&read, &[]))).await.map_err(text)?;
    rows.iter().try_for_each(|row| masked(row.get(0)))
}

async fn copy(client: &Client) -> Step {
    let sink = client.copy_in("copy app.support_tickets (customer_id, subject) from stdin").await.map_err(text)?;
    pin_mut!(sink);
    for n in 0..1000 {
        sink.send(Bytes::from(format!("1\tcopied {n}\n"))).await.map_err(text)?;
    }
    let count = sink.finish().await.map_err(text)?;
    if count != 1000 {
        return Err(format!("copied {count}"));
    }
    let stream = client.copy_out("copy (select email from app.customers where id = 7) to stdout").await.map_err(text)?;
    pin_mut!(stream);
    let mut data = Vec::new();
    while let Some(block) = stream.try_next().await.map_err(text)? {
        data.extend_from_slice(&block);
    }
    masked(&String::from_utf8_lossy(&data))
}

async fn cancel(client: &Client) -> Step {
    let token = client.cancel_token();
    let long = client.query_one("select count(*) from generate_series(1, 100000000000)", &[]);
    pin_mut!(long);
    let result = loop {
        tokio::select! {
            result = &mut long => break result,
            // Again until it has hit: it may come before the statement has begun.
            _ = tokio::time::sleep(Duration::from_millis(300)) => token.cancel_query(NoTls).await.map_err(text)?,
        }
    };
    fails("57014", result)?;
    goes_on(client).await
}

async fn cursor(client: &mut Client) -> Step {
    let transaction = client.transaction().await.map_err(text)?;
    let portal = transaction.bind("select email from app.customers order by id limit 7", &[]).await.map_err(text)?;
    for expected in [5, 2] {
        let rows = transaction.query_portal(&portal, 5).await.map_err(text)?;
        if rows.len() != expected {
            return Err(format!("{} rows", rows.len()));
        }
        rows.iter().try_for_each(|row| masked(row.get(0)))?;
    }
    transaction.commit().await.map_err(text)
}

async fn failing(client: &mut Client) -> Step {
    let transaction = client.transaction().await.map_err(text)?;
    fails("22012", transaction.query_one("select 1 / 0", &[]).await)?;
    fails("25P02", transaction.query_one("select 1", &[]).await)?;
    transaction.rollback().await.map_err(text)?;
    goes_on(client).await
}

async fn held(client: &Client) -> Step {
    let row = client.query_one("insert into app.support_tickets (customer_id, subject) values (1, 'held') returning id", &[]).await.map_err(text)?;
    let id: i64 = row.get(0);
    let count = client.execute("delete from app.support_tickets where id = $1", &[&id]).await.map_err(text)?;
    if count == 1 { Ok(()) } else { Err(format!("{count} rows")) }
}

async fn denied(client: &Client) -> Step {
    fails("42501", client.batch_execute("grant all on app.orders to public").await)?;
    goes_on(client).await
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let setting = |name: &str| var(name).expect(name);
    let address = format!("host={} port={} user={} password={} dbname={} sslmode=disable", setting("PGHOST"), setting("PGPORT"),
        setting("PGUSER"), setting("PGPASSWORD"), setting("PGDATABASE"));
    let (mut client, connection) = tokio_postgres::connect(&address, NoTls).await.expect("connects");
    tokio::spawn(connection);
    let read = client.query_one("select email from app.customers where id = 7", &[]).await.map_err(text);
    let results = [
        ("prepared", prepared(&client).await),
        ("batch", batch(&client).await),
        ("copy", copy(&client).await),
        ("cancel", cancel(&client).await),
        ("cursor", cursor(&mut client).await),
        ("error", failing(&mut client).await),
        ("masked", read.and_then(|row| masked(row.get(0)))),
        ("held", held(&client).await),
        ("denied", denied(&client).await),
    ];
    let shown = |step: &Step| match step {
        Ok(()) => "ok".to_string(),
        Err(why) => why.replace('\\', "/").replace('"', "'").replace('\n', " "),
    };
    let fields: Vec<String> = results.iter().map(|(name, step)| format!("\"{name}\": \"{}\"", shown(step))).collect();
    println!("{{\"tls\": \"n/a: Debian has no TLS connector for it\", {}}}", fields.join(", "));
}
