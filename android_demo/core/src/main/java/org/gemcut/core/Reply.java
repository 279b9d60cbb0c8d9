package org.gemcut.core;

import java.util.Collections;
import java.util.List;

/** A model's reply taken apart: its words, and the tools that it calls. */
public final class Reply {
    public final String text;
    public final List<ToolCall> calls;

    Reply(String text, List<ToolCall> calls) {
        this.text = text;
        this.calls = Collections.unmodifiableList(calls);
    }
}
