#include "controlplane/server/config.h"

#include "common/base/errors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace postern::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view kSmallest = "origin: postern.example.com\ndata_dir: /tmp/d\nkek_file: /tmp/k\n";

TEST(ConfigTest, DefaultsAreFilledIn) {
  const absl::StatusOr<Config> config = ParseConfig(kSmallest, "c.yaml");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->listen, "127.0.0.1:7443");
  EXPECT_EQ(config->advertise, "127.0.0.1:7443");
  EXPECT_THAT(config->tls_hosts, ElementsAre("127.0.0.1"));
  EXPECT_EQ(config->limits.largest_request_bytes, 4 << 20);
}

TEST(ConfigTest, EveryKeyIsRead) {
  const absl::StatusOr<Config> config =
      ParseConfig(std::string(kSmallest) +
                      "listen: '[::1]:1'\nadvertise: cp.example.com:2\ntls_hosts: [a, b]\nmetrics: 127.0.0.1:9\n"
                      "log_level: debug\nlimits: {calls_per_second: 5, burst: 7, largest_request_bytes: 2048}\n",
                  "c.yaml");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->listen, "[::1]:1");
  EXPECT_EQ(config->advertise, "cp.example.com:2");
  EXPECT_THAT(config->tls_hosts, ElementsAre("a", "b"));
  EXPECT_EQ(config->metrics, "127.0.0.1:9");
  EXPECT_EQ(config->log_level, "debug");
  EXPECT_EQ(config->limits.calls_per_second, 5);
  EXPECT_EQ(config->limits.burst, 7);
  EXPECT_EQ(config->limits.largest_request_bytes, 2048);
}

TEST(ConfigTest, WebhooksAreRead) {
  const absl::StatusOr<Config> config = ParseConfig(
      std::string(kSmallest) +
          "webhooks:\n  - {name: ops, url: 'https://a/', secret_file: /s, events: [approval.denied], groups: "
          "[leads], link: 'https://w/{id}'}\n  - {name: pager, shape: pagerduty, url: 'https://b/', "
          "routing_key_file: /k}\n",
      "c.yaml");
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_EQ(config->webhooks.size(), 2u);
  EXPECT_EQ(config->webhooks[0].shape, "postern");
  EXPECT_THAT(config->webhooks[0].groups, ElementsAre("leads"));
  EXPECT_EQ(config->webhooks[1].routing_key_file, "/k");
}

TEST(ConfigTest, MistakesRefuseTheStartAndSayWhere) {
  struct Case {
    std::string text;
    std::string message;
  };
  const std::string base(kSmallest);
  const Case cases[] = {
      {base + "lissten: 127.0.0.1:1\n", "c.yaml:4: unknown key lissten"},
      {base + "limits: {brust: 5}\n", "c.yaml:4: unknown key limits.brust"},
      {base + "limits: {burst: many}\n", "c.yaml:4: limits.burst has a value of the wrong type"},
      {base + "limits: {burst: 0}\n", "limits.burst must be at least 1"},
      {base + "limits: 5\n", "limits. must be a map"},
      {base + "webhooks: 5\n", "webhooks must be a list"},
      {base + "webhooks: [{name: a, url: 'https://a/'}]\n", "webhook a: secret_file is missing"},
      {base + "webhooks: [{name: a, url: 'https://a/', shape: irc}]\n", "shape must be"},
      {base + "webhooks: [{name: a, url: 'https://a/', shape: slack, colour: red}]\n", "unknown key webhooks.colour"},
      {base + "webhooks: [{name: a, url: 'https://a/', shape: slack}, {name: a, url: 'https://b/', shape: slack}]\n",
       "the name is used twice"},
      {base + "listen: here\n", "listen must be host:port"},
      {base + "listen: 127.0.0.1:99999\n", "listen must be host:port"},
      {base + "log_level: loud\n", "log_level must be"},
      {base + "origin: twice.example.com\n", "origin is set twice"},
      {base + "listen: 0.0.0.0:7443\n", "tls_hosts is missing"},
      {"data_dir: /tmp/d\nkek_file: /tmp/k\n", "origin must be"},
      {"origin: Postern!\ndata_dir: /tmp/d\nkek_file: /tmp/k\n", "origin must be"},
      {"origin: a\nkek_file: /tmp/k\n", "data_dir is missing"},
      {"origin: a\ndata_dir: /tmp/d\n", "kek_file is missing"},
      {"origin: a\ndata_dir: /tmp/d\nkek_file: /tmp/k\nstore: mysql://x:hush@y/z\n", "store must be sqlite or"},
      {"- a\n- b\n", "must be a map"},
      {"a: [", "not YAML"},
      {"", "must be a map"},
  };
  for (const Case& c : cases) {
    const absl::StatusOr<Config> config = ParseConfig(c.text, "c.yaml");
    EXPECT_EQ(ReasonOf(config.status()), "CONFIG_INVALID") << c.text;
    EXPECT_THAT(std::string(config.status().message()), HasSubstr(c.message)) << c.text;
  }
}

TEST(ConfigTest, AMissingFileIsSaid) {
  EXPECT_EQ(ReasonOf(LoadConfig("/nonexistent/c.yaml").status()), "CONFIG_MISSING");
}

}  // namespace
}  // namespace postern::server
