import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.charset.StandardCharsets;
import org.pytorch.executorch.extension.llm.LlmCallback;
import org.pytorch.executorch.extension.llm.LlmModule;

/**
 * Asks LlmModule for a greedy reply to each prompt: PROGRAM TOKENIZER ASKED REPLIES, the latter two as java.py has them.
 *
 * <p>Methods whose type differs between the versions of the library are called by reflection: load and generate return
 * an error code in some and nothing in others, and only some let the caller say how many BOS tokens to add.
 */
public final class Replies {
  private static final class Heard implements LlmCallback {
    final StringBuilder text = new StringBuilder();
    String stats = "";

    @Override
    public void onResult(String piece) {
      text.append(piece);
    }

    @Override
    public void onStats(String json) {
      stats = json;
    }

    public void onError(int code, String message) {
      System.err.println("error " + code + ": " + message);
    }
  }

  private static Method find(String name, Class<?>... types) {
    try {
      return LlmModule.class.getMethod(name, types);
    } catch (NoSuchMethodException none) {
      return null;
    }
  }

  /** Calls it; returns its error code, or 0 where it has none. */
  private static int call(LlmModule module, Method method, Object... arguments) throws Exception {
    try {
      Object result = method.invoke(module, arguments);
      return result instanceof Integer ? (Integer) result : 0;
    } catch (InvocationTargetException thrown) {
      if (thrown.getCause() instanceof Exception) {
        throw (Exception) thrown.getCause();
      }
      throw thrown;
    }
  }

  private static int generate(LlmModule module, String prompt, int length, Heard heard) throws Exception {
    Method exact =
        find("generate", String.class, int.class, LlmCallback.class, boolean.class, float.class, int.class, int.class);
    if (exact != null) {
      return call(module, exact, prompt, length, heard, false, 0.0f, 0, 0); // no BOS, no EOS: the prompt has its own
    }
    Method plain = find("generate", String.class, int.class, LlmCallback.class, boolean.class);
    return call(module, plain, prompt, length, heard, false);
  }

  private static LlmModule open(String program, String tokenizer) throws Exception {
    LlmModule module = new LlmModule(program, tokenizer, 0.0f); // temperature 0: the likeliest token
    int code = call(module, find("load"));
    if (code != 0) {
      throw new IOException("LlmModule.load gave error " + code);
    }
    return module;
  }

  private static void write(DataOutputStream out, String text) throws IOException {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    out.writeInt(bytes.length);
    out.write(bytes);
  }

  private static void run(String program, String tokenizer, String asked, String replies) throws Exception {
    Method reset = find("resetContext");
    LlmModule module = open(program, tokenizer);
    try (DataInputStream in = new DataInputStream(new BufferedInputStream(new FileInputStream(asked)));
        DataOutputStream out = new DataOutputStream(new FileOutputStream(replies))) {
      int count = in.readInt();
      for (int i = 0; i < count; i++) {
        if (i > 0 && reset != null) {
          call(module, reset);
        } else if (i > 0) {
          module.resetNative();
          module = open(program, tokenizer);
        }
        int length = in.readInt();
        byte[] prompt = new byte[in.readInt()];
        in.readFully(prompt);
        Heard heard = new Heard();
        out.writeInt(generate(module, new String(prompt, StandardCharsets.UTF_8), length, heard));
        write(out, heard.text.toString());
        write(out, heard.stats);
      }
    }
  }

  public static void main(String[] arguments) {
    int code = 0;
    try {
      run(arguments[0], arguments[1], arguments[2], arguments[3]);
    } catch (Throwable thrown) {
      System.err.println(thrown);
      code = 1;
    }
    System.err.flush();
    Runtime.getRuntime().halt(code); // fbjni's destructor thread is no daemon, and would keep the process
  }
}
