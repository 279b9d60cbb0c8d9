package org.gemcut.core;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.List;

/** What Python's tests ask of this core: a verb and its arguments, one line of JSON for each answer. */
public final class Verbs {
    private static final Gson GSON =
            new GsonBuilder().serializeNulls().serializeSpecialFloatingPointValues().disableHtmlEscaping().create();
    private static PrintStream out;

    private Verbs() {}

    public static void main(String[] arguments) throws Exception {
        out = new PrintStream(System.out, false, "UTF-8");
        String verb = arguments[0];
        if (verb.equals("verify")) {
            for (String path : lines()) {
                verify(new File(path));
            }
        } else if (verb.equals("extract")) {
            extract(new File(arguments[1]), new File(arguments[2]));
        } else if (verb.equals("goldens")) {
            goldens(new File(arguments[1]));
        } else if (verb.equals("compare")) {
            for (String folder : lines()) {
                compare(new File(arguments[1]), new File(folder));
            }
        } else if (verb.equals("render")) {
            render();
        } else if (verb.equals("thoughts")) {
            for (JsonObject answer : ThoughtsVerb.answers(lines())) {
                say(answer);
            }
        } else if (verb.equals("calls")) {
            calls();
        } else if (verb.equals("numbers")) {
            for (String line : lines()) {
                say(new com.google.gson.JsonPrimitive(PromptText.number(line)));
            }
        } else if (verb.equals("verdict")) {
            verdict(new File(arguments[1]), new File(arguments[2]), new File(arguments[3]));
        } else if (verb.equals("replay")) {
            replay(new File(arguments[1]), Integer.parseInt(arguments[2]), new File(arguments[3]));
        } else {
            throw new IllegalArgumentException(verb);
        }
        out.flush();
    }

    private static void say(JsonElement answer) {
        StringBuilder line = new StringBuilder();
        for (char one : GSON.toJson(answer).toCharArray()) {
            // Half a surrogate pair, which a model may write as an escape, has no UTF-8.
            line.append(one < 127 ? String.valueOf(one) : String.format("\\u%04x", (int) one));
        }
        out.println(line);
    }

    private static String text(String path) throws IOException {
        return new String(Files.readAllBytes(new File(path).toPath()), StandardCharsets.UTF_8);
    }

    private static List<String> lines() throws IOException {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        List<String> found = new ArrayList<String>();
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            found.add(line);
        }
        return found;
    }

    private static JsonObject error(BundleException error) {
        JsonObject answer = new JsonObject();
        answer.addProperty("kind", error.kind().name());
        answer.addProperty("error", error.getMessage());
        answer.addProperty("hint", error.hint());
        return answer;
    }

    private static void verify(File path) {
        try {
            Bundle bundle = Bundle.open(path);
            try {
                final long[] told = new long[2];
                bundle.verify(new Progress() {
                    @Override
                    public boolean update(long done, long total, String what) {
                        told[0] = done;
                        told[1] = total;
                        return true;
                    }
                });
                Manifest manifest = bundle.manifest;
                JsonObject answer = new JsonObject();
                answer.addProperty("sha256", manifest.sha256);
                answer.addProperty("done", told[0]);
                answer.addProperty("total", told[1]);
                answer.add("stop_ids", GSON.toJsonTree(manifest.stopIds()));
                answer.add("kernels", GSON.toJsonTree(manifest.kernels));
                answer.addProperty("context", manifest.context);
                answer.addProperty("prefill_chunk", manifest.prefillChunk);
                answer.addProperty("vocab_size", manifest.vocabSize);
                answer.addProperty("bos_id", manifest.bosId);
                answer.addProperty("program", manifest.program);
                answer.addProperty("licence", manifest.licenceId);
                answer.addProperty("runtime", manifest.runtimeName + " " + manifest.runtimeVersion);
                say(answer);
            } finally {
                bundle.close();
            }
        } catch (BundleException error) {
            say(error(error));
        }
    }

    /** Every file as a runtime would get it, twice: the second time what was copied is used again. */
    private static void extract(File path, File folder) throws Exception {
        Bundle bundle = Bundle.open(path);
        for (String name : bundle.manifest.fileNames()) {
            File first = bundle.file(name, folder, Progress.NONE);
            long written = first.lastModified();
            File again = bundle.file(name, folder, Progress.NONE);
            JsonObject answer = new JsonObject();
            answer.addProperty("name", name);
            answer.addProperty("path", again.getPath());
            answer.addProperty("kept", first.equals(again) && again.lastModified() == written);
            say(answer);
        }
        bundle.close();
    }

    private static String sha(float[]... rows) {
        int count = 0;
        for (float[] row : rows) {
            count += row.length;
        }
        ByteBuffer all = ByteBuffer.allocate(4 * count).order(ByteOrder.LITTLE_ENDIAN);
        for (float[] row : rows) {
            for (float one : row) {
                all.putFloat(one);
            }
        }
        return Hash.of(all.array());
    }

    private static String sha(int[]... rows) {
        int count = 0;
        for (int[] row : rows) {
            count += row.length;
        }
        ByteBuffer all = ByteBuffer.allocate(4 * count).order(ByteOrder.LITTLE_ENDIAN);
        for (int[] row : rows) {
            for (int one : row) {
                all.putInt(one);
            }
        }
        return Hash.of(all.array());
    }

    private static JsonObject recorded(Recorded one) {
        JsonObject answer = new JsonObject();
        answer.addProperty("logprobs", sha(one.logprobs));
        answer.addProperty("target_logprobs", sha(one.targetLogprobs));
        answer.addProperty("top1", sha(one.top1));
        answer.add("greedy_ids", GSON.toJsonTree(one.greedyIds));
        answer.addProperty("greedy_text", one.greedyText);
        answer.addProperty("ended", one.ended);
        return answer;
    }

    private static void goldens(File path) throws Exception {
        Goldens all = Goldens.read(Bundle.open(path));
        for (int i = 0; i < all.goldens.size(); i++) {
            Golden one = all.goldens.get(i);
            JsonObject answer = new JsonObject();
            answer.addProperty("id", one.id);
            answer.addProperty("kind", one.kind);
            answer.add("messages", one.messages);
            answer.add("tools", one.tools);
            answer.addProperty("generation", one.generation);
            answer.addProperty("rendered", one.rendered);
            answer.addProperty("ids", sha(one.ids));
            answer.addProperty("prompt_length", one.promptLength);
            answer.addProperty("first", one.first);
            answer.addProperty("topk_ids", sha(one.topIds));
            answer.addProperty("topk_logprobs", sha(one.topLogprobs));
            answer.addProperty("target_logprobs", sha(one.targetLogprobs));
            answer.add("greedy_ids", GSON.toJsonTree(one.greedyIds));
            answer.addProperty("greedy_text", one.greedyText);
            answer.addProperty("ended", one.ended);
            answer.addProperty("margin", sha(one.margin));
            answer.add("host", recorded(all.host.get(i)));
            say(answer);
        }
    }

    private static List<Recorded> read(File folder) throws Exception {
        return Goldens.recorded(
                Files.readAllBytes(new File(folder, "recorded.safetensors").toPath()),
                text(new File(folder, "recorded.jsonl").getPath()));
    }

    private static void compare(File path, File folder) throws Exception {
        Comparison found = Comparison.compare(Goldens.read(Bundle.open(path)), read(folder));
        JsonObject answer = new JsonObject();
        answer.addProperty("tolerance", found.tolerance);
        answer.addProperty("tolerance_kl", found.toleranceKl);
        answer.addProperty("noise", found.noise);
        answer.addProperty("noise_kl", found.noiseKl);
        answer.addProperty("max_logprob_diff", found.maxLogprobDiff);
        answer.addProperty("mean_kl", found.meanKl);
        answer.addProperty("passed", found.passed());
        answer.add("failures", GSON.toJsonTree(found.failures));
        JsonArray differences = new JsonArray();
        for (Comparison.Difference one : found.differences) {
            JsonObject difference = new JsonObject();
            difference.addProperty("prompt", one.prompt);
            difference.addProperty("max_logprob_diff", one.maxLogprobDiff);
            difference.addProperty("position", one.position);
            difference.addProperty("kl", one.kl);
            difference.addProperty("first_step", one.firstStep);
            difference.addProperty("margin", one.margin);
            difference.addProperty("tie", one.tie);
            differences.add(difference);
        }
        answer.add("differences", differences);
        say(answer);
    }

    /** The prompts that the first line holds; the others name one by its place. */
    private static List<Prompt> prompts(String line) throws BundleException {
        List<Prompt> found = new ArrayList<Prompt>();
        for (JsonElement one : Json.parse(line, "prompts").getAsJsonArray()) {
            found.add(Prompt.read(GSON.toJson(one)));
        }
        return found;
    }

    private static void render() throws Exception {
        List<String> lines = lines();
        List<Prompt> prompts = prompts(lines.get(0));
        for (String line : lines.subList(1, lines.size())) {
            JsonObject given = Json.object(Json.parse(line, "a case"), "a case");
            JsonObject answer = new JsonObject();
            try {
                Prompt prompt = prompts.get(given.get("prompt").getAsInt());
                List<Message> messages = new ArrayList<Message>();
                for (JsonElement one : given.get("messages").getAsJsonArray()) {
                    messages.add(Message.of(one));
                }
                List<Tool> tools = new ArrayList<Tool>();
                for (JsonElement one : given.get("tools").getAsJsonArray()) {
                    tools.add(Tool.of(one));
                }
                boolean thinking = given.has("thinking") && given.get("thinking").getAsBoolean();
                boolean generation = given.get("generation").getAsBoolean();
                answer.addProperty("text", prompt.render(messages, tools, generation, thinking));
            } catch (BundleException error) {
                answer = error(error);
            }
            say(answer);
        }
    }

    private static void calls() throws Exception {
        List<String> lines = lines();
        List<Prompt> prompts = prompts(lines.get(0));
        for (String line : lines.subList(1, lines.size())) {
            JsonObject given = Json.object(Json.parse(line, "a case"), "a case");
            JsonObject answer = new JsonObject();
            try {
                Prompt prompt = prompts.get(given.get("prompt").getAsInt());
                Reply reply = ToolCalls.split(prompt, given.get("text").getAsString());
                JsonArray calls = new JsonArray();
                for (ToolCall call : reply.calls) {
                    JsonObject one = new JsonObject();
                    one.addProperty("name", call.name);
                    one.add("arguments", call.arguments);
                    calls.add(one);
                }
                answer.add("calls", calls);
                answer.addProperty("words", reply.text);
                answer.addProperty("spoken", prompt.withoutThoughts(given.get("text").getAsString()));
            } catch (BundleException error) {
                answer = error(error);
            }
            say(answer);
        }
    }

    private static VerdictFile.About about(Manifest manifest) {
        VerdictFile.About about = new VerdictFile.About();
        about.runtimeName = manifest.runtimeName;
        about.runtimeVersion = "1.1.0";
        about.librarySha256 = Hash.of(new byte[0]);
        about.maker = "Google";
        about.model = "Pixel 8";
        about.system = "Android 14";
        about.abi = "arm64-v8a";
        about.cpu = "Tensor G3";
        about.cores = 9;
        about.memory = 8L << 30;
        about.appId = "org.gemcut.demo";
        about.appVersion = "1.0";
        about.peakMemory = 3L << 30;
        return about;
    }

    private static void verdict(File path, File folder, File target) throws Exception {
        Goldens goldens = Goldens.read(Bundle.open(path));
        Replay replay = new Replay(read(folder), 500, 2000000000L);
        Comparison comparison = Comparison.compare(goldens, replay.recorded);
        VerdictFile.write(target, VerdictFile.text(goldens, replay, comparison, about(goldens.manifest)));
        VerdictFile.write(
                new File(target.getPath() + ".refused"),
                VerdictFile.refusal(goldens.manifest, Writer.refused("it lacks llama::sdpa.out"),
                        about(goldens.manifest)));
    }

    /** A made-up program with a cache: its logits depend on every token so far, and on nothing else. */
    private static final class Toy extends ChunkedRunner {
        private final int vocabulary;
        private final int chunk;
        private int held;
        private long state;

        Toy(Manifest manifest, int chunk) {
            super(chunk, manifest.context);
            this.vocabulary = manifest.vocabSize;
            this.chunk = chunk;
        }

        @Override
        protected float[] forward(int[] ids, int position) {
            if (position == 0) {
                held = 0;
                state = 1;
            }
            if (ids.length < 1 || ids.length > chunk || position != held) {
                throw new IllegalStateException(ids.length + " tokens at " + position + ", " + held + " are held");
            }
            for (int id : ids) {
                state = (state * 31 + id) % 1000003;
                held++;
            }
            float[] logits = new float[vocabulary];
            for (int i = 0; i < vocabulary; i++) {
                logits[i] = (state * (i + 7) % 4099) / 256.0f;
            }
            return logits;
        }
    }

    private static void replay(File path, int chunk, File target) throws Exception {
        Goldens goldens = Goldens.read(Bundle.open(path));
        Replay replay = Replay.run(goldens, new Toy(goldens.manifest, chunk), Progress.NONE);
        Comparison comparison = Comparison.compare(goldens, replay.recorded);
        VerdictFile.write(target, VerdictFile.text(goldens, replay, comparison, about(goldens.manifest)));
        for (Recorded one : replay.recorded) {
            say(recorded(one));
        }
    }
}
