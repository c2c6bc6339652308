// The format of docs/formats/spool.md, a sentence a test.
#include "sidecar/spool/segment.h"

#include <string>

#include "common/audit/crc32c.h"
#include "common/base/errors.h"
#include "gtest/gtest.h"

namespace postern::spool {
namespace {

SegmentHeader Header() {
  SegmentHeader header;
  header.number = 3;
  header.first_sequence = 258;
  header.previous_hash.fill(7);
  header.writer = "sdc_1";
  header.epoch = "spe_1";
  return header;
}

std::string Be32(uint32_t value) {
  std::string out;
  audit::AppendBe32(out, value);
  return out;
}

std::string Framed(const std::string& payload) {
  const std::string length = Be32(static_cast<uint32_t>(payload.size()));
  return length + Be32(audit::Crc32c(length + payload)) + payload;
}

TEST(SegmentFormat, HeaderIsMagicAndAFrameOfType1) {
  const std::string payload = std::string("\x01") + std::string("\0\0\0\0\0\0\0\x03", 8) +
                              std::string("\0\0\0\0\0\0\x01\x02", 8) + std::string(32, '\x07') +
                              std::string("\0\x05", 2) + "sdc_1" + std::string("\0\x05", 2) + "spe_1";
  EXPECT_EQ(EncodeHeader(Header()), "POSTERN-SPOOL-1\n" + Framed(payload));
}

TEST(SegmentFormat, RecordIsAFrameOfType2) {
  std::string out;
  AppendRecordFrame(out, 5, std::string(32, 'h'), "body");
  EXPECT_EQ(out, Framed(std::string("\x02") + std::string("\0\0\0\0\0\0\0\x05", 8) + std::string(32, 'h') + "body"));
  EXPECT_EQ(out.size(), kRecordFrameOverhead + 4);
}

TEST(SegmentFormat, HeaderAndRecordsReadBack) {
  std::string bytes = EncodeHeader(Header());
  AppendRecordFrame(bytes, 258, std::string(32, 'a'), "one");
  AppendRecordFrame(bytes, 259, std::string(32, 'b'), "");
  SegmentReader reader(bytes);
  SegmentHeader header;
  ASSERT_EQ(reader.ReadHeader(header), Read::kWhole);
  EXPECT_EQ(header.number, 3);
  EXPECT_EQ(header.first_sequence, 258);
  EXPECT_EQ(header.previous_hash, Header().previous_hash);
  EXPECT_EQ(header.writer, "sdc_1");
  EXPECT_EQ(header.epoch, "spe_1");
  RecordFrame record;
  ASSERT_EQ(reader.Next(record), Read::kWhole);
  EXPECT_EQ(record.sequence, 258);
  EXPECT_EQ(record.chain_hash, std::string(32, 'a'));
  EXPECT_EQ(record.record, "one");
  ASSERT_EQ(reader.Next(record), Read::kWhole);
  EXPECT_EQ(record.record, "");
  EXPECT_EQ(reader.Next(record), Read::kEnd);
  EXPECT_EQ(reader.offset(), bytes.size());
}

TEST(SegmentFormat, EveryCutIsPartialAndEveryFlipIsSeen) {
  std::string bytes = EncodeHeader(Header());
  const size_t start = bytes.size();
  AppendRecordFrame(bytes, 258, std::string(32, 'a'), "a record");
  SegmentHeader header;
  RecordFrame record;
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    const std::string part = bytes.substr(0, cut);
    SegmentReader reader(part);
    if (cut < start) {
      EXPECT_EQ(reader.ReadHeader(header), Read::kPartial) << cut;
    } else {
      ASSERT_EQ(reader.ReadHeader(header), Read::kWhole) << cut;
      EXPECT_EQ(reader.Next(record), cut == start ? Read::kEnd : Read::kPartial) << cut;
    }
  }
  for (size_t at = 0; at < bytes.size() * 8; ++at) {
    std::string flipped = bytes;
    flipped[at / 8] = static_cast<char>(flipped[at / 8] ^ (1 << (at % 8)));
    SegmentReader reader(flipped);
    const bool whole = reader.ReadHeader(header) == Read::kWhole && reader.Next(record) == Read::kWhole;
    EXPECT_FALSE(whole) << at;
  }
}

TEST(SegmentFormat, ALengthOfZeroOrAboveTheLimitIsDamage) {
  RecordFrame record;
  EXPECT_EQ(SegmentReader(std::string(64, '\0')).Next(record), Read::kDamaged);
  EXPECT_EQ(SegmentReader(Be32(kMaxPayload + 1) + std::string(64, 'x')).Next(record), Read::kDamaged);
}

TEST(SegmentFormat, AFrameOfAnotherTypeIsDamage) {
  RecordFrame record;
  const std::string frame = Framed("\x09" + std::string(60, 'x'));
  EXPECT_EQ(SegmentReader(frame).Next(record), Read::kDamaged);
}

TEST(SegmentFormat, ARecordSequenceStartsAtOne) {
  RecordFrame record;
  std::string zero;
  AppendRecordFrame(zero, 0, std::string(32, 'a'), "x");
  EXPECT_EQ(SegmentReader(zero).Next(record), Read::kDamaged);
  std::string negative;
  AppendRecordFrame(negative, -1, std::string(32, 'a'), "x");
  EXPECT_EQ(SegmentReader(negative).Next(record), Read::kDamaged);
}

TEST(LedgerFormat, IsMagicAndAFrameOfType3) {
  const Ledger ledger{"w", "e1", 1, "e2", 2};
  const std::string payload = std::string("\x03") + std::string("\0\x01", 2) + "w" + std::string("\0\x02", 2) + "e1" +
                              std::string("\0\0\0\0\0\0\0\x01", 8) + std::string("\0\x02", 2) + "e2" +
                              std::string("\0\0\0\0\0\0\0\x02", 8);
  EXPECT_EQ(EncodeLedger(ledger), "POSTERN-LEDGER1\n" + Framed(payload));
}

TEST(LedgerFormat, ReadsBackAndDamageIsSeen) {
  const std::string bytes = EncodeLedger({"w", "e1", 12, "e2", 34});
  const auto ledger = DecodeLedger(bytes);
  ASSERT_TRUE(ledger.ok());
  EXPECT_EQ(ledger->writer, "w");
  EXPECT_EQ(ledger->acknowledged_epoch, "e1");
  EXPECT_EQ(ledger->acknowledged_sequence, 12);
  EXPECT_EQ(ledger->head_epoch, "e2");
  EXPECT_EQ(ledger->head_sequence, 34);
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string flipped = bytes;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x10);
    EXPECT_EQ(ReasonOf(DecodeLedger(flipped).status()), "SPOOL_DAMAGED") << at;
    EXPECT_EQ(ReasonOf(DecodeLedger(bytes.substr(0, at)).status()), "SPOOL_DAMAGED") << at;
  }
  EXPECT_EQ(ReasonOf(DecodeLedger(bytes + "x").status()), "SPOOL_DAMAGED");
}

}  // namespace
}  // namespace postern::spool
