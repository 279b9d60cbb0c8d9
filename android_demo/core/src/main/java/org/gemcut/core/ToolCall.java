package org.gemcut.core;

import com.google.gson.JsonObject;

/** One call of a tool: its name, and arguments by name in the order in which they were written. */
public final class ToolCall {
    public final String name;
    public final JsonObject arguments;

    /** What a result may name it by, or null: then results belong to calls in their order. */
    public final String id;

    public ToolCall(String name, JsonObject arguments) {
        this(name, arguments, null);
    }

    public ToolCall(String name, JsonObject arguments, String id) {
        this.name = name;
        this.arguments = arguments;
        this.id = id;
    }

    /** For people: set_alarm {"time":"07:30"}. */
    @Override
    public String toString() {
        return name + " " + arguments;
    }
}
