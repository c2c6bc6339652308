// Whatever lies in a spool file, its reader stays inside the bytes, and what it calls whole is written the same way
// again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "common/audit/crc32c.h"
#include "common/audit/digest.h"
#include "sidecar/spool/segment.h"

using namespace postern::spool;  // NOLINT(google-build-using-namespace): one translation unit, spool only

namespace {

void Expect(bool holds) {
  if (!holds) std::abort();
}

void ReadSegment(std::string_view bytes) {
  SegmentReader reader(bytes);
  SegmentHeader header;
  if (reader.ReadHeader(header) == Read::kWhole) Expect(EncodeHeader(header) == bytes.substr(0, reader.offset()));
  RecordFrame record;
  size_t before = reader.offset();
  while (reader.Next(record) == Read::kWhole) {
    Expect(reader.offset() > before && reader.offset() <= bytes.size());
    std::string again;
    AppendRecordFrame(again, record.sequence, record.chain_hash, record.record);
    Expect(again == bytes.substr(before, reader.offset() - before));
    before = reader.offset();
  }
  Expect(reader.offset() == before);
}

// A fuzzer cannot guess checksums: the same bytes as the payload of a frame whose checksum holds.
std::string Framed(std::string_view payload) {
  std::string frame;
  postern::audit::AppendBe32(frame, static_cast<uint32_t>(payload.size()));
  const uint32_t crc = postern::audit::Crc32c(payload, postern::audit::Crc32c(frame));
  postern::audit::AppendBe32(frame, crc);
  frame += payload;
  return frame;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view in(reinterpret_cast<const char*>(data), size);
  const std::string frame = Framed(in);
  ReadSegment(in);
  ReadSegment(frame);
  ReadSegment(std::string(kSegmentMagic) + frame);
  for (const std::string& bytes : {std::string(in), std::string(kLedgerMagic) + frame}) {
    if (const auto ledger = DecodeLedger(bytes); ledger.ok()) Expect(EncodeLedger(*ledger) == bytes);
  }
  return 0;
}
