// Something that should not happen and that people must hear of: becomes an ALARM record in the spool.
#pragma once

#include <functional>
#include <string_view>

namespace postern::sidecar {

// `reason` is UPPER_SNAKE_CASE and stable, `text` one sentence. Thread-safe; does not block.
using AlarmSink = std::function<void(std::string_view reason, std::string_view text)>;

}  // namespace postern::sidecar
