#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sidecar/wire/backend.h"
#include "sidecar/wire/build.h"
#include "sidecar/wire/framing.h"
#include "sidecar/wire/frontend.h"
#include "sidecar/wire/startup.h"

namespace postern::wire {
namespace {

using ::testing::ElementsAre;
using ::testing::Eq;
using ::testing::IsEmpty;
using ::testing::Optional;
using ::testing::SizeIs;

std::string Bytes(std::initializer_list<int> bytes) {
  std::string out;
  for (const int byte : bytes) out.push_back(static_cast<char>(byte));
  return out;
}

TEST(Framing, MessageSplitAtEveryByteIsReadOnceItIsWhole) {
  std::string in;
  AppendQuery("select 1", &in);
  Message message;
  for (size_t n = 0; n < in.size(); ++n) {
    EXPECT_EQ(ReadFrontend(std::string_view(in).substr(0, n), &message), Read::kNeedMore) << n;
  }
  const std::string longer = in + "tail";
  ASSERT_EQ(ReadFrontend(longer, &message), Read::kMessage);
  EXPECT_EQ(message.whole, in);
  EXPECT_THAT(ParseQuery(message.body), Optional(Eq("select 1")));
}

struct Malformed {
  std::string name;
  std::string bytes;
};

TEST(Framing, BadTypesAndLengthsEndTheSession) {
  const Malformed cases[] = {
      {"unknown type", Bytes({'q'})},
      {"zero type", Bytes({0})},
      {"length below its own word", Bytes({'Q', 0, 0, 0, 3})},
      {"negative length", Bytes({'Q', 0xff, 0xff, 0xff, 0xff})},
      {"largest positive length", Bytes({'Q', 0x7f, 0xff, 0xff, 0xff})},
      {"small message over its limit", Bytes({'S', 0, 0, 0x27, 0x11})},
      {"password over its limit", Bytes({'p', 0, 1, 0, 0})},
  };
  for (const Malformed& c : cases) {
    Message message;
    EXPECT_EQ(ReadFrontend(c.bytes, &message), Read::kMalformed) << c.name;
  }
  Message message;
  EXPECT_EQ(ReadBackend(Bytes({'Q', 0, 0, 0, 4}), &message), Read::kMalformed) << "a server does not send Query";
}

TEST(Framing, LargeMessagesAreAllowedUpToTheServersLimit) {
  Message message;
  EXPECT_EQ(ReadFrontend(Bytes({'Q', 0x3f, 0xff, 0xff, 0xff}), &message), Read::kNeedMore);
  EXPECT_EQ(ReadFrontend(Bytes({'Q', 0x40, 0, 0, 0}), &message), Read::kMalformed);
}

TEST(Startup, RequestsThatPrecedeTheStartupMessage) {
  StartupPacket packet;
  ASSERT_EQ(ReadStartup(Bytes({0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f}), &packet), Read::kMessage);
  EXPECT_EQ(packet.kind, StartupPacket::Kind::kSslRequest);
  ASSERT_EQ(ReadStartup(Bytes({0, 0, 0, 8, 4, 0xd2, 0x16, 0x30}), &packet), Read::kMessage);
  EXPECT_EQ(packet.kind, StartupPacket::Kind::kGssEncRequest);
  EXPECT_EQ(ReadStartup(Bytes({0, 0, 0, 9, 4, 0xd2, 0x16, 0x2f, 0}), &packet), Read::kMalformed);
}

TEST(Startup, CancelKeysMayBeLong) {
  std::string in;
  AppendCancelRequest(7, std::string(256, 'k'), &in);
  StartupPacket packet;
  ASSERT_EQ(ReadStartup(in, &packet), Read::kMessage);
  EXPECT_EQ(packet.kind, StartupPacket::Kind::kCancelRequest);
  EXPECT_EQ(packet.process_id, 7u);
  EXPECT_THAT(packet.secret_key, SizeIs(256));
  in.clear();
  AppendCancelRequest(7, std::string(257, 'k'), &in);
  EXPECT_EQ(ReadStartup(in, &packet), Read::kMalformed);
  in.clear();
  AppendCancelRequest(7, "", &in);
  EXPECT_EQ(ReadStartup(in, &packet), Read::kMalformed);
}

TEST(Startup, DuplicatesAndOrderSurviveForTheCallerToJudge) {
  std::string in;
  AppendStartup({{"user", "agent"}, {"user", "super"}, {"database", "d"}}, &in);
  StartupPacket packet;
  ASSERT_EQ(ReadStartup(in, &packet), Read::kMessage);
  EXPECT_EQ(packet.size, in.size());
  EXPECT_EQ(packet.minor, 0);
  EXPECT_THAT(packet.parameters,
              ElementsAre(std::pair("user", "agent"), std::pair("user", "super"), std::pair("database", "d")));
}

TEST(Startup, LengthIsJudgedBeforeAnythingIsAwaited) {
  StartupPacket packet;
  for (const auto& bytes :
       {Bytes({0, 0, 0, 0}), Bytes({0, 0, 0, 7}), Bytes({0, 0, 0x27, 0x11}), Bytes({0xff, 0, 0, 8})}) {
    EXPECT_EQ(ReadStartup(bytes, &packet), Read::kMalformed);
  }
  EXPECT_EQ(ReadStartup(Bytes({0, 0, 0}), &packet), Read::kNeedMore);
}

TEST(Startup, MissingTerminatorAndTrailingBytesAreMalformed) {
  std::string in;
  AppendStartup({{"user", "a"}}, &in);
  StartupPacket packet;
  std::string trailing = in + "x";
  trailing[3] = static_cast<char>(trailing.size());
  EXPECT_EQ(ReadStartup(trailing, &packet), Read::kMalformed);
  std::string cut = in.substr(0, in.size() - 1);
  cut[3] = static_cast<char>(cut.size());
  EXPECT_EQ(ReadStartup(cut, &packet), Read::kMalformed);
}

TEST(Startup, OtherMajorVersionsAreNamedNotGuessed) {
  StartupPacket packet;
  ASSERT_EQ(ReadStartup(Bytes({0, 0, 0, 9, 0, 2, 0, 0, 0}), &packet), Read::kMessage);
  EXPECT_EQ(packet.kind, StartupPacket::Kind::kUnsupportedVersion);
}

TEST(Frontend, QueryIsConsumedExactly) {
  EXPECT_THAT(ParseQuery(std::string_view("select 1\0", 9)), Optional(Eq("select 1")));
  EXPECT_EQ(ParseQuery("select 1"), std::nullopt) << "no terminator";
  EXPECT_EQ(ParseQuery(std::string_view("select 1\0drop\0", 14)), std::nullopt) << "text after the terminator";
}

TEST(Frontend, ParseReadsNamesTextAndTypes) {
  const std::string body = std::string("s1\0select $1\0", 13) + Bytes({0, 1, 0, 0, 0, 23});
  const auto view = ParseParse(body);
  ASSERT_TRUE(view.has_value());
  EXPECT_EQ(view->statement, "s1");
  EXPECT_EQ(view->query, "select $1");
  EXPECT_THAT(view->parameter_types, ElementsAre(23u));
  EXPECT_EQ(ParseParse(body + "x"), std::nullopt);
  EXPECT_EQ(ParseParse(body.substr(0, body.size() - 1)), std::nullopt);
}

TEST(Frontend, BindReadsNullsEmptyValuesAndFormats) {
  const std::string body =
      std::string("p\0s\0", 4) + Bytes({0, 1, 0, 1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1, 0, 0});
  const auto view = ParseBind(body);
  ASSERT_TRUE(view.has_value());
  EXPECT_THAT(view->parameter_formats, ElementsAre(1));
  EXPECT_THAT(view->values, ElementsAre(Eq(std::nullopt), Optional(Eq(""))));
  EXPECT_THAT(view->result_formats, ElementsAre(0));
}

TEST(Frontend, BindWithLengthsBeyondTheBodyIsMalformed) {
  EXPECT_EQ(ParseBind(std::string("p\0s\0", 4) + Bytes({0, 0, 0, 1, 0, 0, 0, 9, 'x', 0, 0})), std::nullopt);
  EXPECT_EQ(ParseBind(std::string("p\0s\0", 4) + Bytes({0, 0, 0, 1, 0xff, 0xff, 0xff, 0xfe, 0, 0})), std::nullopt);
  EXPECT_EQ(ParseBind(std::string("p\0s\0", 4) + Bytes({0, 0, 0xff, 0xff})), std::nullopt);
  EXPECT_EQ(ParseBind(std::string("p\0s\0", 4) + Bytes({0, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0})), std::nullopt)
      << "two formats for one value";
}

TEST(Frontend, DescribeAndCloseNameAStatementOrAPortal) {
  EXPECT_EQ(ParseTarget(std::string_view("Sx\0", 3))->name, "x");
  EXPECT_EQ(ParseTarget(std::string_view("Xx\0", 3)), std::nullopt);
  EXPECT_EQ(ParseTarget(""), std::nullopt);
}

TEST(Frontend, ExecuteReadsTheRowLimit) {
  std::string message;
  AppendExecute("c1", 50, &message);
  const auto view = ParseExecute(std::string_view(message).substr(kHeaderBytes));
  ASSERT_TRUE(view.has_value());
  EXPECT_EQ(view->portal, "c1");
  EXPECT_EQ(view->max_rows, 50);
}

TEST(Backend, RowDescriptionGivesOrigins) {
  const std::string body = Bytes({0, 1}) + std::string("email\0", 6) +
                           Bytes({0, 0, 0x40, 1, 0, 2, 0, 0, 0, 25, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 1});
  const auto fields = ParseRowDescription(body);
  ASSERT_TRUE(fields.has_value());
  ASSERT_THAT(*fields, SizeIs(1));
  EXPECT_EQ((*fields)[0].name, "email");
  EXPECT_EQ((*fields)[0].table, 0x4001u);
  EXPECT_EQ((*fields)[0].attnum, 2);
  EXPECT_EQ((*fields)[0].type, 25u);
  EXPECT_EQ((*fields)[0].format, 1);
  EXPECT_EQ(ParseRowDescription(body.substr(1)), std::nullopt);
}

TEST(Backend, ErrorsThatWeBuildReadBack) {
  std::string message;
  AppendError({.severity = "ERROR", .sqlstate = "42501", .message = "postern: no", .detail = "d", .hint = "h"},
              &message);
  const auto view = ParseError(std::string_view(message).substr(kHeaderBytes));
  ASSERT_TRUE(view.has_value());
  EXPECT_EQ(view->severity, "ERROR");
  EXPECT_EQ(view->sqlstate, "42501");
  EXPECT_EQ(view->message, "postern: no");
  EXPECT_EQ(view->detail, "d");
  EXPECT_EQ(view->hint, "h");
}

TEST(Backend, RowCountsOfTags) {
  EXPECT_THAT(RowsOfTag("INSERT 0 12"), Optional(Eq(12)));
  EXPECT_THAT(RowsOfTag("SELECT 3"), Optional(Eq(3)));
  EXPECT_EQ(RowsOfTag("CREATE TABLE"), std::nullopt);
  EXPECT_EQ(RowsOfTag("BEGIN"), std::nullopt);
}

TEST(Backend, MechanismsEndWithAnEmptyName) {
  EXPECT_THAT(*ParseMechanisms(std::string_view("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", 34)),
              ElementsAre("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"));
  EXPECT_EQ(ParseMechanisms("SCRAM"), std::nullopt);
}

TEST(Build, NulInAValueCannotAddAField) {
  std::string message;
  AppendParameterStatus("a", std::string_view("b\0c", 3), &message);
  EXPECT_THAT(ParseParameterStatus(std::string_view(message).substr(kHeaderBytes)), Optional(std::pair("a", "b")));
}

}  // namespace
}  // namespace postern::wire
