plugins {
    alias(libs.plugins.android.application)
    alias(libs.plugins.kotlin.android)
}

android {
    namespace = "org.gemcut.sample"
    compileSdk = 35

    defaultConfig {
        applicationId = "org.gemcut.sample"
        minSdk = 26
        targetSdk = 35
        versionCode = 1
        versionName = "0.1"
        ndk {
            abiFilters += listOf("arm64-v8a", "x86_64")
        }
    }

    // A bundle's bytes stay as they are: a compressed one would be unpacked into memory to be read.
    androidResources {
        noCompress += listOf("pte", "json", "jsonl", "safetensors", "model", "jinja", "sha256", "md")
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_1_8
        targetCompatibility = JavaVersion.VERSION_1_8
    }

    kotlinOptions {
        jvmTarget = "1.8"
    }

    buildTypes {
        release {
            isMinifyEnabled = false // LlmModule's methods are found by name
        }
    }
}

dependencies {
    implementation(project(":core"))
    implementation(libs.executorch.android)
    implementation(libs.gson)
    implementation(libs.kotlinx.coroutines.android)
}
