//! The server that makes it up.

use crate::servers::{Client, END, PONG, some};
use crate::support::redis::{FakeRedis, RedisServer, Reply, Said};

fn command(words: &str) -> String {
    let words: Vec<_> = words.split(' ').map(Reply::from).collect();
    String::from_utf8(Reply::Array(words).bytes()).expect("text")
}

#[tokio::test]
async fn a_fake_sends_the_scripted_replies() {
    let fake = FakeRedis::start(|asked| match asked[0].as_slice() {
        b"GET" => Said::from(Reply::Integer(7)),
        b"SET" => Said::Bytes(b"-LOADING Redis is loading\r\n".to_vec()),
        b"DEL" => Said::LastBytes(b"$100\r\nabc".to_vec()),
        b"EVAL" => Said::Nothing,
        _ => Said::AsUsual,
    })
    .await;
    let mut client = Client::to(fake.port()).await;
    for (asked, said) in [
        ("GET a", some(":7\r\n")),
        ("SET a 1", some("-LOADING Redis is loading\r\n")),
        ("CLIENT SETINFO LIB-NAME x", some("+OK\r\n")),
        ("SELECT 1", some("+OK\r\n")),
        ("PING", some(PONG)),
        ("ROLE", some("*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n")),
        ("WHAT", some("-ERR unknown command 'WHAT'\r\n")),
        ("DEL a", some("$100\r\nabc")),
    ] {
        client.say(command(asked).trim_end()).await;
        assert_eq!(client.hears().await, said, "{asked}");
    }
    assert_eq!(client.hears().await, some(END));
    let mut client = Client::to(fake.port()).await;
    client.say(command("EVAL x 0").trim_end()).await;
    client.hears_nothing().await;
    assert_eq!((fake.connections(), fake.calls("get")), (2, 1));
    assert_eq!(fake.commands().len(), 9);
}

#[tokio::test]
async fn a_fake_greets_like_a_server() {
    let fake = FakeRedis::start(|_| Vec::new()).await;
    let real = RedisServer::start().await;
    for asked in ["HELLO 3", "HELLO 2", "CLIENT ID", "TIME", "INFO server"] {
        let asked = command(asked);
        let mut kinds = Vec::new();
        for port in [fake.port(), real.port()] {
            let mut client = Client::to(port).await;
            let said = client.asks(asked.trim_end()).await.expect("an answer");
            kinds.push(said.chars().next());
        }
        assert_eq!(kinds[0], kinds[1], "{asked}");
    }
}
