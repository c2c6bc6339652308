#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/errors.h"
#include "common/obs/log.h"
#include "common/obs/metrics.h"

namespace postern::obs {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class LogTest : public testing::Test {
 protected:
  ~LogTest() override { SetUpLogging("postern", Level::kWarning); }

  // What `write` puts on stderr.
  template <typename Write>
  static std::string Captured(const Write& write) {
    testing::internal::CaptureStderr();
    write();
    return testing::internal::GetCapturedStderr();
  }
};

TEST_F(LogTest, ALineIsOneJsonObject) {
  EXPECT_EQ(FormatLine("t", "info", "c", "hello", {{"who", "ann"}, {"n", "1"}}),
            R"({"time":"t","level":"info","component":"c","msg":"hello","who":"ann","n":"1"})");
}

TEST_F(LogTest, HostileTextStaysInsideItsString) {
  EXPECT_EQ(FormatLine("t", "info", "c", "a\"b\\c\nd\x01\x7f", {{"k\"", "\r\n{\"level\":\"error\"}"}}),
            R"({"time":"t","level":"info","component":"c","msg":"a\"b\\c\u000ad\u0001\u007f",)"
            R"("k\"":"\u000d\u000a{\"level\":\"error\"}"})");
}

TEST_F(LogTest, BrokenUtf8IsReplacedAndGoodIsKept) {
  const auto text = [](std::string_view message) { return FormatLine("t", "l", "c", message, {}); };
  EXPECT_THAT(text("h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"), HasSubstr("h\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"));
  for (const std::string_view broken :
       {"\xff", "\xc3", "\xc0\xaf", "\xed\xa0\x80", "\xe2\x82", "\xf4\x90\x80\x80", "\xf0\x80\x80\x80", "\x80"}) {
    const std::string line = text(broken);
    EXPECT_THAT(line, HasSubstr("\\ufffd"));
    EXPECT_TRUE(std::all_of(line.begin(), line.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; }));
  }
}

TEST_F(LogTest, LevelsBelowTheChosenAreNotWritten) {
  const std::string out = Captured([] {
    SetUpLogging("postern-test", Level::kInfo);
    LogDebug("quiet");
    LogInfo("loud", {{"k", "{}"}});
  });
  EXPECT_THAT(out, Not(HasSubstr("quiet")));
  EXPECT_THAT(out, HasSubstr(R"("level":"info","component":"postern-test","msg":"loud","k":"{}"})"));
  EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 1);
}

TEST_F(LogTest, AStatusIsWrittenWithItsReason) {
  const std::string out = Captured([] {
    SetUpLogging("postern-test", Level::kInfo);
    LogStatus(Level::kError, "upload failed", Error(absl::StatusCode::kUnavailable, "STORE_UNAVAILABLE", "disk full"));
  });
  EXPECT_THAT(out, HasSubstr(R"("code":"UNAVAILABLE","reason":"STORE_UNAVAILABLE","error":"disk full")"));
}

TEST_F(LogTest, OnlyKnownLevelsParse) {
  Level level = Level::kError;
  EXPECT_TRUE(ParseLevel("debug", &level).ok());
  EXPECT_EQ(level, Level::kDebug);
  EXPECT_EQ(ReasonOf(ParseLevel("verbose", &level)), "LOG_LEVEL");
}

TEST(Metrics, AreServedAsText) {
  Metrics metrics;
  metrics.NewCounter("postern_statements_total", "Statements judged.", {{"decision", "deny"}}).Increment();
  metrics.NewCounter("postern_statements_total", "Statements judged.", {{"decision", "deny"}}).Increment(2);
  metrics.NewGauge("postern_sessions", "Live sessions.").Set(5);
  metrics.NewHistogram("postern_hold_seconds", "Time held.", {1, 10}).Observe(3);
  const std::string text = metrics.Text();
  EXPECT_THAT(text, HasSubstr("postern_statements_total{decision=\"deny\"} 3"));
  EXPECT_THAT(text, HasSubstr("postern_sessions 5"));
  EXPECT_THAT(text, HasSubstr("postern_hold_seconds_bucket{le=\"10\"} 1"));
}

TEST(Metrics, TheEndpointTakesAFreePortAndNamesATakenOne) {
  Metrics metrics;
  const auto first = MetricsEndpoint::Start("127.0.0.1:0", metrics);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_GT((*first)->port(), 0);
  const auto second = MetricsEndpoint::Start("127.0.0.1:" + std::to_string((*first)->port()), metrics);
  EXPECT_EQ(ReasonOf(second.status()), "METRICS_ADDRESS");
}

}  // namespace
}  // namespace postern::obs
