#include "sidecar/app/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/errors.h"

namespace postern::sidecar_app {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Config, EveryKeyIsRead) {
  const auto config = ParseConfig(R"(
listen: [127.0.0.1:6432, "[::1]:6432"]
unix_socket_dir: /run/postern
data_dir: /var/lib/postern
tls: {certificate: /c, key: /k, ca: /ca}
advertise: {host: db.example.com, port: 5432}
threads: 4
limits: {sessions: 10, sessions_per_agent: 2, startup: 3s, upstream: 4s, max_message: 100000, hold_outage: 9s}
spool: {max_bytes: 134217728}
metrics: 127.0.0.1:9465
log_level: debug
drain: 30s
)",
                                  "sidecar.yaml");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_THAT(config->gateway.listen, ElementsAre("127.0.0.1:6432", "[::1]:6432"));
  EXPECT_EQ(config->gateway.unix_socket_dir, "/run/postern");
  EXPECT_EQ(config->gateway.tls_certificate_file, "/c");
  EXPECT_EQ(config->gateway.tls_key_file, "/k");
  EXPECT_EQ(config->client_ca_file, "/ca");
  EXPECT_EQ(config->advertise_host, "db.example.com");
  EXPECT_EQ(config->advertise_port, 5432);
  EXPECT_EQ(config->gateway.threads, 4);
  EXPECT_EQ(config->gateway.sessions.sessions, 10);
  EXPECT_EQ(config->gateway.sessions.sessions_per_agent, 2);
  EXPECT_EQ(config->gateway.limits.startup_deadline, absl::Seconds(3));
  EXPECT_EQ(config->gateway.limits.upstream_timeout, absl::Seconds(4));
  EXPECT_EQ(config->gateway.limits.hold_outage, absl::Seconds(9));
  EXPECT_EQ(config->gateway.limits.max_message_bytes, 100000u);
  EXPECT_EQ(config->spool_max_bytes, 134217728);
  EXPECT_EQ(config->metrics_address, "127.0.0.1:9465");
  EXPECT_EQ(config->log_level, obs::Level::kDebug);
  EXPECT_EQ(config->drain, absl::Seconds(30));
}

struct Wrong {
  const char* name;
  const char* yaml;
  const char* text;
};

TEST(Config, WhatIsNotUnderstoodRefusesTheStart) {
  const Wrong cases[] = {
      {"unknown key", "listen: [a:1]\ndata_dir: /d\nlisen: x", "f:3: unknown key \"lisen\""},
      {"unknown nested key", "listen: [a:1]\ndata_dir: /d\nlimits: {session: 3}", "unknown key \"session\" in limits"},
      {"not a number", "listen: [a:1]\ndata_dir: /d\nthreads: many", "expected a number"},
      {"out of range", "listen: [a:1]\ndata_dir: /d\nthreads: 0", "from 1 to 256"},
      {"no duration", "listen: [a:1]\ndata_dir: /d\ndrain: 10", "duration"},
      {"half of tls", "listen: [a:1]\ndata_dir: /d\ntls: {key: /k}", "both certificate and key"},
      {"nowhere to listen", "data_dir: /d", "listen or unix_socket_dir"},
      {"no data_dir", "listen: [a:1]", "data_dir"},
      {"log level", "listen: [a:1]\ndata_dir: /d\nlog_level: loud", "debug, info"},
      {"list expected", "listen: 127.0.0.1:1\ndata_dir: /d", "expected a list"},
      {"not a map", "- a", "must be a map"},
      {"not YAML", "a: [", "f:"},
  };
  for (const Wrong& c : cases) {
    const auto config = ParseConfig(c.yaml, "f");
    EXPECT_EQ(ReasonOf(config.status()), "CONFIG_INVALID") << c.name;
    EXPECT_THAT(std::string(config.status().message()), HasSubstr(c.text)) << c.name;
  }
}

}  // namespace
}  // namespace postern::sidecar_app
