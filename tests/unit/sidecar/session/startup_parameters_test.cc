#include "sidecar/session/startup_parameters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace postern::session {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Optional;
using ::testing::Pair;

using Parameters = std::vector<std::pair<std::string, std::string>>;

wire::StartupPacket Packet(Parameters parameters) {
  wire::StartupPacket packet;
  packet.major = 3;
  packet.parameters = std::move(parameters);
  return packet;
}

std::optional<ClientStartup> Judge(Parameters parameters, wire::ErrorFields* refusal) {
  return JudgeStartup(Packet(std::move(parameters)), refusal);
}

TEST(StartupParameters, ListedSettingsPassUnderTheirCanonicalNames) {
  wire::ErrorFields refusal;
  const auto startup = Judge({{"user", "u"},
                              {"database", "orders"},
                              {"APPLICATION_NAME", "psql"},
                              {"datestyle", "ISO"},
                              {"client_encoding", "utf-8"},
                              {"extra_float_digits", "3"}},
                             &refusal);
  ASSERT_TRUE(startup.has_value()) << refusal.message;
  EXPECT_EQ(startup->database, "orders");
  EXPECT_EQ(startup->application_name, "psql");
  EXPECT_THAT(startup->settings, ElementsAre(Pair("DateStyle", "ISO"), Pair("extra_float_digits", "3")));
}

struct Refused {
  const char* name;
  Parameters parameters;
  const char* sqlstate;
  const char* text;
};

TEST(StartupParameters, EverythingElseIsRefusedByName) {
  const Refused cases[] = {
      {"duplicate user", {{"user", "agent"}, {"user", "super"}}, "08P01", "twice"},
      {"duplicate by case", {{"user", "u"}, {"DateStyle", "ISO"}, {"datestyle", "SQL"}}, "08P01", "twice"},
      {"role", {{"user", "u"}, {"role", "postgres"}}, "42501", "\"role\""},
      {"session_authorization", {{"user", "u"}, {"session_authorization", "postgres"}}, "42501", "not allowed"},
      {"replication", {{"user", "u"}, {"replication", "database"}}, "0A000", "replication"},
      {"quoting", {{"user", "u"}, {"standard_conforming_strings", "off"}}, "42501", "not allowed"},
      {"encoding", {{"user", "u"}, {"client_encoding", "SJIS"}}, "0A000", "SJIS"},
      {"read only", {{"user", "u"}, {"default_transaction_read_only", "off"}}, "42501", "not allowed"},
      {"preload", {{"user", "u"}, {"local_preload_libraries", "x"}}, "42501", "not allowed"},
      {"options role", {{"user", "u"}, {"options", "-c role=postgres"}}, "42501", "\"role\""},
      {"options attached", {{"user", "u"}, {"options", "-crole=postgres"}}, "42501", "\"role\""},
      {"options long", {{"user", "u"}, {"options", "--session-authorization=x"}}, "42501", "session_authorization"},
      {"options tab", {{"user", "u"}, {"options", "-c\trole=x"}}, "42501", "\"role\""},
      {"options escape", {{"user", "u"}, {"options", "-c ro\\le=x"}}, "42501", "\"role\""},
      {"options unknown", {{"user", "u"}, {"options", "-S 1"}}, "42501", "not understood"},
      {"options repeats a key", {{"user", "u"}, {"TimeZone", "UTC"}, {"options", "-c timezone=CET"}}, "08P01", "twice"},
      {"no user", {{"database", "d"}}, "28000", "user name"},
      {"search_path syntax", {{"user", "u"}, {"search_path", "a,,b"}}, "22023", "list"},
  };
  for (const Refused& c : cases) {
    wire::ErrorFields refusal;
    EXPECT_FALSE(Judge(c.parameters, &refusal).has_value()) << c.name;
    EXPECT_EQ(refusal.sqlstate, c.sqlstate) << c.name;
    EXPECT_EQ(refusal.severity, "FATAL") << c.name;
    EXPECT_THAT(refusal.message, HasSubstr(c.text)) << c.name;
  }
}

TEST(StartupParameters, OptionsOfListedNamesPass) {
  wire::ErrorFields refusal;
  const auto startup =
      Judge({{"user", "u"}, {"options", "-c statement_timeout=5s --extra-float-digits=1 -cTimeZone=Europe/Berlin"}},
            &refusal);
  ASSERT_TRUE(startup.has_value()) << refusal.message;
  EXPECT_THAT(startup->settings, ElementsAre(Pair("statement_timeout", "5s"), Pair("extra_float_digits", "1"),
                                             Pair("TimeZone", "Europe/Berlin")));
}

TEST(StartupParameters, SearchPathIsTakenApartForTheJudge) {
  wire::ErrorFields refusal;
  const auto startup = Judge({{"user", "u"}, {"options", "-c search_path=App,\\ \"Odd\"\"Name\""}}, &refusal);
  ASSERT_TRUE(startup.has_value()) << refusal.message;
  EXPECT_THAT(startup->search_path, Optional(ElementsAre("app", "Odd\"Name")));
  EXPECT_EQ(QuoteIdentifiers(*startup->search_path), "\"app\", \"Odd\"\"Name\"");
}

TEST(StartupParameters, LaterVersionsAndProtocolOptionsAreNegotiated) {
  wire::StartupPacket packet = Packet({{"user", "u"}, {"_pq_.grease", "1"}});
  packet.minor = 9999;
  wire::ErrorFields refusal;
  const auto startup = JudgeStartup(packet, &refusal);
  ASSERT_TRUE(startup.has_value());
  EXPECT_TRUE(startup->negotiate);
  EXPECT_EQ(startup->minor, 2);
  EXPECT_THAT(startup->unknown_options, ElementsAre("_pq_.grease"));
}

TEST(StartupParameters, KnownVersionsAreSpoken) {
  for (const uint16_t minor : {0, 2}) {
    wire::StartupPacket packet = Packet({{"user", "u"}});
    packet.minor = minor;
    wire::ErrorFields refusal;
    const auto startup = JudgeStartup(packet, &refusal);
    ASSERT_TRUE(startup.has_value());
    EXPECT_FALSE(startup->negotiate);
    EXPECT_EQ(startup->minor, minor);
  }
}

TEST(StartupParameters, TheClientMayChooseHowToAuthenticate) {
  wire::ErrorFields refusal;
  EXPECT_EQ(Judge({{"user", "u"}}, &refusal)->auth, std::nullopt);
  EXPECT_EQ(Judge({{"user", "u"}, {"options", "-c postern.auth=oauthbearer"}}, &refusal)->auth,
            AuthMethod::kOauthBearer);
  EXPECT_EQ(Judge({{"user", "u"}, {"options", "-c postern.auth=password"}}, &refusal)->auth, AuthMethod::kPassword);
  EXPECT_FALSE(Judge({{"user", "u"}, {"options", "-c postern.auth=trust"}}, &refusal).has_value());
  EXPECT_EQ(refusal.sqlstate, "22023");
}

TEST(SplitIdentifiers, FollowsTheServersRules) {
  EXPECT_THAT(SplitIdentifiers(""), Optional(IsEmpty()));
  EXPECT_THAT(SplitIdentifiers(" \"$user\" , Public "), Optional(ElementsAre("$user", "public")));
  EXPECT_EQ(SplitIdentifiers("a,"), std::nullopt);
  EXPECT_EQ(SplitIdentifiers("\"a"), std::nullopt);
  EXPECT_EQ(SplitIdentifiers("a b"), std::nullopt);
}

}  // namespace
}  // namespace postern::session
