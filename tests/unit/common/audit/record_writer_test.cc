#include "common/audit/record_writer.h"

#include <limits>
#include <string>

#include "common/audit/chain.h"
#include "gtest/gtest.h"

namespace postern::audit {
namespace {

using Record = v1::AuditRecord;

TEST(RecordWriter, WritesWhatSerializingTheMessageGives) {
  for (const int64_t number : {int64_t{0}, int64_t{1}, int64_t{127}, int64_t{128}, int64_t{300'000}, int64_t{-1},
                               std::numeric_limits<int64_t>::max()}) {
    for (const std::string& text : {std::string(), std::string("x"), std::string(127, 'a'), std::string(70'000, 'b')}) {
      Record message;
      message.set_kind(v1::STATEMENT_INTENT);
      message.set_agent(text);
      message.set_execution(number);
      message.set_sql(text);
      for (int i = 0; i < 3; ++i) message.add_effects(i == 1 ? "" : text);
      message.set_policy_revision(number);
      message.set_search_path(text);

      std::string bytes;
      RecordWriter writer(&bytes);
      writer.Number(Record::kKindFieldNumber, v1::STATEMENT_INTENT);
      writer.Bytes(Record::kAgentFieldNumber, text);
      writer.Number(Record::kExecutionFieldNumber, number);
      writer.Bytes(Record::kSqlFieldNumber, text);
      for (int i = 0; i < 3; ++i) writer.Message(Record::kEffectsFieldNumber, i == 1 ? "" : text);
      writer.Number(Record::kPolicyRevisionFieldNumber, number);
      writer.Bytes(Record::kSearchPathFieldNumber, text);
      EXPECT_EQ(bytes, SerializeRecord(message)) << number << " " << text.size();
    }
  }
}

TEST(RecordWriter, TakesFieldsThatWereWrittenElsewhere) {
  Record who;
  who.set_agent("bot");
  Record whole = who;
  whole.set_kind(v1::SESSION_END);
  whole.set_reason("client");
  std::string bytes;
  RecordWriter writer(&bytes);
  writer.Number(Record::kKindFieldNumber, v1::SESSION_END);
  writer.Written(SerializeRecord(who));
  writer.Bytes(Record::kReasonFieldNumber, "client");
  EXPECT_EQ(bytes, SerializeRecord(whole));
}

}  // namespace
}  // namespace postern::audit
