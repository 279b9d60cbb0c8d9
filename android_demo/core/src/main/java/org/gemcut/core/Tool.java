package org.gemcut.core;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;

/** A tool as chat templates take it: {@code {"type": "function", "function": {name, description, parameters}}}. */
public final class Tool {
    /** Empty where the declaration has none; most templates then refuse it. */
    public final String name;

    public final JsonObject json;

    private Tool(String name, JsonObject json) {
        this.name = name;
        this.json = json;
    }

    /**
     * A function.
     *
     * @param parameters its JSON Schema, as text
     * @throws BundleException the parameters are no JSON object
     */
    public static Tool function(String name, String description, String parameters) throws BundleException {
        JsonObject function = new JsonObject();
        function.addProperty("name", name);
        function.addProperty("description", description);
        String where = "the parameters of " + name;
        function.add("parameters", Json.object(Json.parse(parameters, where), where));
        JsonObject json = new JsonObject();
        json.addProperty("type", "function");
        json.add("function", function);
        return new Tool(name, json);
    }

    /** A tool as a golden has it. */
    public static Tool of(JsonElement json) throws BundleException {
        JsonObject object = Json.object(json, "a tool");
        JsonElement function = object.get("function");
        JsonElement name = function != null && function.isJsonObject() ? function.getAsJsonObject().get("name") : null;
        return new Tool(Json.isString(name) ? name.getAsString() : "", object);
    }
}
