// CRC-32C (Castagnoli, RFC 3720 appendix B.4), which guards the frames of the spool against torn and rotten bytes.
#pragma once

#include <cstdint>
#include <string_view>

namespace postern::audit {

// The CRC of what `crc` covers (0: nothing) followed by `bytes`. Uses the SSE 4.2 instruction where the processor has
// it.
uint32_t Crc32c(std::string_view bytes, uint32_t crc = 0);

// The same by table, for processors without the instruction and for the test that both agree.
uint32_t Crc32cPortable(std::string_view bytes, uint32_t crc = 0);

}  // namespace postern::audit
