// CopyMasker on any stream in any format: the same output however the stream is cut, up to where it is refused.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "sidecar/mask/big_endian.h"
#include "sidecar/mask/mask.h"

namespace {

constexpr size_t kHeader = 4;

struct Result {
  bool ok = true;
  std::string messages;
};

Result Run(const postern::sql::Statement::Copy& options, int columns, std::string_view stream, size_t piece) {
  static const postern::mask::Masker masker("key");
  std::vector<postern::mask::ColumnMask> masks;
  if (columns > 1) masks.push_back({1, postern::v1::MASK_STRATEGY_LAST4, 25, 0});
  postern::mask::CopyMasker copy(masker, options, columns, masks);
  Result result;
  for (size_t at = 0; at < stream.size() && result.ok; at += piece) {
    result.ok = copy.Consume(stream.substr(at, piece), &result.messages).ok();
  }
  result.ok = result.ok && copy.Finish(&result.messages).ok();
  return result;
}

// Aborts unless `messages` is whole CopyData messages.
void CheckFraming(std::string_view messages) {
  while (!messages.empty()) {
    if (messages.size() < 5 || messages[0] != 'd') std::abort();
    const size_t length = postern::mask::ReadUint32(messages.substr(1));
    if (length < 4 || length + 1 > messages.size()) std::abort();
    messages.remove_prefix(length + 1);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < kHeader) return 0;
  postern::sql::Statement::Copy options;
  options.to = true;
  options.csv = data[0] % 3 == 1;
  options.binary = data[0] % 3 == 2;
  options.header = (data[0] & 0x40) != 0;
  options.delimiter = options.csv ? "," : "\t";
  options.quote = "\"";
  options.escape = (data[0] & 0x80) != 0 ? "\\" : "\"";
  options.null_string = options.csv ? "" : "\\N";
  const int columns = data[1] % 4;
  const size_t piece = size_t{data[2]} + 1;
  const std::string_view stream(reinterpret_cast<const char*>(data) + kHeader, size - kHeader);
  const Result whole = Run(options, columns, stream, stream.size() + 1);
  const Result split = Run(options, columns, stream, piece);
  CheckFraming(whole.messages);
  CheckFraming(split.messages);
  if (whole.ok != split.ok || whole.messages != split.messages) std::abort();
  return 0;
}
