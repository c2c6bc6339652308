// RewriteDataRow on any bytes: refuses, or gives a DataRow whose length is its own.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "sidecar/mask/big_endian.h"
#include "sidecar/mask/mask.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const postern::mask::Masker masker("key");
  if (size < 4) return 0;
  // Two masks, described by the first bytes; types and strategies include unknown ones.
  std::vector<postern::mask::ColumnMask> masks;
  for (int i = 0; i < 2; ++i) {
    const uint8_t choice = data[i];
    masks.push_back({i * 2 + (choice & 1), static_cast<postern::v1::MaskStrategy>((choice >> 1) & 7),
                     static_cast<uint32_t>(data[2 + i]) * 17, static_cast<int16_t>((choice >> 4) & 1)});
  }
  const std::string_view body(reinterpret_cast<const char*>(data) + 4, size - 4);
  std::string out = "x";
  if (!postern::mask::RewriteDataRow(masker, masks, body, &out).ok()) {
    if (out != "x") std::abort();
  } else if (postern::mask::ReadUint32(std::string_view(out).substr(2)) != out.size() - 2) {
    std::abort();
  }
  const std::string scrubbed = postern::mask::ScrubErrorFields(body);
  if (scrubbed.empty() || scrubbed.back() != '\0') std::abort();
  return 0;
}
