#include "common/net/join_line.h"

#include <string>

#include <gtest/gtest.h>

#include "common/base/errors.h"

namespace postern::net {
namespace {

const std::string kPin = "sha256:" + std::string(43, 'A');
const std::string kSecret(43, 's');

TEST(JoinLine, ReadsWhatWasWritten) {
  const std::string text = FormatJoinLine({.address = "[::1]:7443", .ca_pin = kPin, .secret = kSecret});
  absl::StatusOr<JoinLine> line = ParseJoinLine("  " + text + "\n");
  ASSERT_TRUE(line.ok()) << line.status();
  EXPECT_EQ(line->address, "[::1]:7443");
  EXPECT_EQ(line->ca_pin, kPin);
  EXPECT_EQ(line->secret, kSecret);
}

TEST(JoinLine, NeedsNoQuotesInAShell) {
  const std::string text = FormatJoinLine({.address = "cp.example:7443", .ca_pin = kPin, .secret = kSecret});
  EXPECT_EQ(text.find_first_of(" \t'\"$`\\&|;<>*?()#!~"), std::string::npos);
}

TEST(JoinLine, RefusesEachBrokenPartWithoutTellingTheSecret) {
  const struct {
    const char* name;
    std::string text;
  } kCases[] = {
      {"nothing", ""},
      {"another tag", "postern-join-2,cp:1," + kPin + "," + kSecret},
      {"no port", "postern-join-1,cp," + kPin + "," + kSecret},
      {"port out of range", "postern-join-1,cp:70000," + kPin + "," + kSecret},
      {"port with rubbish", "postern-join-1,cp:70x," + kPin + "," + kSecret},
      {"no host", "postern-join-1,:7443," + kPin + "," + kSecret},
      {"short pin", "postern-join-1,cp:1,sha256:AAAA," + kSecret},
      {"pin of another kind", "postern-join-1,cp:1,sha1:" + std::string(43, 'A') + "," + kSecret},
      {"short secret", "postern-join-1,cp:1," + kPin + ",s3cr3t"},
      {"secret with a space", "postern-join-1,cp:1," + kPin + "," + kSecret + " x"},
      {"a part too many", "postern-join-1,cp:1," + kPin + "," + kSecret + ",x"},
  };
  for (const auto& c : kCases) {
    absl::StatusOr<JoinLine> line = ParseJoinLine(c.text);
    EXPECT_EQ(ReasonOf(line.status()), "JOIN_LINE_MALFORMED") << c.name;
    EXPECT_EQ(std::string(line.status().message()).find(kSecret), std::string::npos) << c.name;
  }
}

}  // namespace
}  // namespace postern::net
